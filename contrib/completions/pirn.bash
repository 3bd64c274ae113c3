# bash completion for pirn: /usr/share/bash-completion/completions/pirn, or
# eval "$(pirn completions bash)" in ~/.bashrc.

_pirn() {
    local kind
    local -a found=()
    COMPREPLY=()
    # Nothing that pirn prints is expanded: it is quoted for this line already.
    mapfile -t found < <(command pirn complete bash "${COMP_LINE:0:COMP_POINT}" "$2" 2>/dev/null)
    kind=${found[0]-}
    case $kind in
        words) COMPREPLY=("${found[@]:1}") ;;
        files) compopt -o default ;;
        dirs) compopt -o dirnames ;;
        commands)
            compopt -o default -o filenames
            mapfile -t COMPREPLY < <(compgen -c -- "$2")
            ;;
    esac
}

complete -o nosort -F _pirn pirn
