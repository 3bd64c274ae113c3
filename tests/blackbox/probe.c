// Tries what a sandbox is to refuse. `probe ACTION [ARGUMENT]...` prints "ok" or the name of the error.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/io_uring.h>
#include <netinet/in.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

static struct sockaddr_in local(const char *port) {
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(atoi(port))};
    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return a;
}

static int unix_to(int fd, const char *path, int sends) {
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    strncpy(a.sun_path, path, sizeof a.sun_path - 1);
    socklen_t length = offsetof(struct sockaddr_un, sun_path) + strlen(path) + (path[0] != '@');
    if (path[0] == '@') a.sun_path[0] = 0;
    return sends ? sendto(fd, "x", 1, 0, (void *)&a, length) : connect(fd, (void *)&a, length);
}

// Makes a socket without socket(2).
static int uring_socket(void) {
    struct io_uring_params p = {0};
    int ring = syscall(SYS_io_uring_setup, 2, &p);
    if (ring < 0) return -1;
    size_t sq_size = p.sq_off.array + p.sq_entries * 4, cq_size = p.cq_off.cqes + p.cq_entries * sizeof(struct io_uring_cqe);
    char *sq = mmap(0, sq_size, PROT_READ | PROT_WRITE, MAP_SHARED, ring, IORING_OFF_SQ_RING);
    char *cq = mmap(0, cq_size, PROT_READ | PROT_WRITE, MAP_SHARED, ring, IORING_OFF_CQ_RING);
    struct io_uring_sqe *sqe = mmap(0, p.sq_entries * sizeof *sqe, PROT_READ | PROT_WRITE, MAP_SHARED, ring, IORING_OFF_SQES);
    memset(sqe, 0, sizeof *sqe);
    sqe->opcode = 45; // IORING_OP_SOCKET
    sqe->fd = AF_INET;
    sqe->off = SOCK_STREAM;
    ((unsigned *)(sq + p.sq_off.array))[0] = 0;
    __atomic_store_n((unsigned *)(sq + p.sq_off.tail), 1, __ATOMIC_RELEASE);
    if (syscall(SYS_io_uring_enter, ring, 1, 1, IORING_ENTER_GETEVENTS, 0, 0) < 0) return -1;
    int result = ((struct io_uring_cqe *)(cq + p.cq_off.cqes))->res;
    errno = result < 0 ? -result : 0;
    return result;
}

static int try(int n, char **w) {
    char *what = w[1], *a = n > 2 ? w[2] : "", *b = n > 3 ? w[3] : "", *c = n > 4 ? w[4] : "";
    struct sockaddr_in to = local(a);
    int one = 1, pair[2];
    if (!strcmp(what, "socket")) return socket(atoi(a), atoi(b), atoi(c));
    if (!strcmp(what, "connect")) return connect(socket(AF_INET, SOCK_STREAM, 0), (void *)&to, sizeof to);
    if (!strcmp(what, "bind")) return bind(socket(AF_INET, SOCK_STREAM, 0), (void *)&to, sizeof to);
    if (!strcmp(what, "fastopen")) return sendto(socket(AF_INET, SOCK_STREAM, 0), "x", 1, MSG_FASTOPEN, (void *)&to, sizeof to);
    if (!strcmp(what, "fastopen-connect")) {
        int fd = socket(AF_INET, SOCK_STREAM, 0);
        setsockopt(fd, IPPROTO_TCP, 30, &one, sizeof one);
        return connect(fd, (void *)&to, sizeof to);
    }
    if (!strcmp(what, "multipath")) return connect(socket(AF_INET, SOCK_STREAM, 262), (void *)&to, sizeof to);
    if (!strcmp(what, "udp")) return sendto(socket(AF_INET, SOCK_DGRAM, 0), "x", 1, 0, (void *)&to, sizeof to);
    if (!strcmp(what, "unix")) return unix_to(socket(AF_UNIX, SOCK_STREAM, 0), a, 0);
    if (!strcmp(what, "pair")) return socketpair(AF_UNIX, SOCK_STREAM, 0, pair);
    if (!strcmp(what, "pair-sends")) {
        if (socketpair(AF_UNIX, SOCK_DGRAM, 0, pair) < 0) return -1;
        return unix_to(pair[0], a, 1);
    }
    if (!strcmp(what, "uring")) return uring_socket();
#ifdef __x86_64__
    if (!strcmp(what, "int80")) {
        long result;
        __asm__ volatile("int $0x80" : "=a"(result) : "a"(359), "b"(AF_INET), "c"(SOCK_STREAM), "d"(0) : "memory", "r8", "r9", "r10", "r11");
        errno = result < 0 ? -result : 0;
        return result;
    }
    if (!strcmp(what, "x32")) return syscall(0x40000000 | SYS_getpid);
#endif
    if (!strcmp(what, "read")) return open(a, O_RDONLY);
    if (!strcmp(what, "write")) return open(a, O_WRONLY);
    if (!strcmp(what, "truncate")) return truncate(a, 0);
    if (!strcmp(what, "create")) return open(a, O_WRONLY | O_CREAT | O_EXCL, 0600);
    if (!strcmp(what, "unlink")) return unlink(a);
    if (!strcmp(what, "mkdir")) return mkdir(a, 0700);
    if (!strcmp(what, "rename")) return rename(a, b);
    if (!strcmp(what, "device")) return mknod(a, S_IFCHR | 0600, 0x103);
    if (!strcmp(what, "signal")) return kill(atoi(a), 0);
    if (!strcmp(what, "trace")) return ptrace(PTRACE_SEIZE, atoi(a), 0, 0);
    if (!strcmp(what, "trace-child")) {
        pid_t child = fork();
        if (child == 0) for (;;) pause();
        int result = ptrace(PTRACE_SEIZE, child, 0, 0), error = errno;
        kill(child, SIGKILL);
        errno = error;
        return result;
    }
    if (!strcmp(what, "unshare")) return unshare(CLONE_NEWUSER);
    if (!strcmp(what, "clone")) {
        int child = syscall(SYS_clone, CLONE_NEWUSER | SIGCHLD, 0, 0, 0, 0);
        if (child == 0) _exit(0);
        return child;
    }
    if (!strcmp(what, "clone3")) return syscall(SYS_clone3, 0, 0);
    if (!strcmp(what, "become-smc")) return setsockopt(socket(AF_INET, SOCK_STREAM, 0), IPPROTO_TCP, 31, "smc", 4);
    if (!strcmp(what, "mount")) return syscall(SYS_mount, "none", "/", "", 0, 0);
    if (!strcmp(what, "keyctl")) return syscall(SYS_keyctl, 0, -3, 1);
    errno = EDOM;
    return -1;
}

int main(int n, char **words) {
    if (n > 1 && !strcmp(words[1], "abi")) return syscall(444, 0, 0, 1);
    int result = n > 1 ? try(n, words) : -1;
    puts(result < 0 ? strerrorname_np(errno) : "ok");
}
