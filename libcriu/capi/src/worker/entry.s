# Makes the shared library a program, too: an interpreter for the kernel, and an entry point that hands the stack of a
# fresh process to libc, which runs the initializers and then criu_worker_main.

    .section .interp, "aR", @progbits
    .asciz "/lib64/ld-linux-x86-64.so.2"

    .text
    .globl criu_worker_entry
    .hidden criu_worker_entry
    .hidden criu_worker_main
    .type criu_worker_entry, @function
criu_worker_entry:
    .cfi_startproc
    .cfi_undefined rip
    endbr64
    xorl %ebp, %ebp
    movq %rdx, %r9              # the loader's own finalizer
    popq %rsi                   # argc
    movq %rsp, %rdx             # argv
    andq $-16, %rsp
    pushq %rax
    pushq %rsp                  # end of the stack
    xorl %r8d, %r8d
    xorl %ecx, %ecx
    leaq criu_worker_main(%rip), %rdi
    call *__libc_start_main@GOTPCREL(%rip)
    hlt
    .cfi_endproc
    .size criu_worker_entry, . - criu_worker_entry

    .section .note.GNU-stack, "", @progbits
