//! The probe has its own entry point, and needs neither the C start files nor a dynamic linker.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rustc-link-arg-bin=stamp=-nostartfiles");
    println!("cargo:rustc-link-arg-bin=stamp=-nostdlib");
    println!("cargo:rustc-link-arg-bin=stamp=-static");
    println!("cargo:rustc-link-arg-bin=stamp=-no-pie");
}
