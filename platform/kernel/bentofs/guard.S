/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The way into Rust, and the two ways out.
 *
 * bento_guard(sp, fn, fs, call, third) calls fn(fs, call, third). bento_escape(sp, value) makes the guard that
 * stored *sp return `value`, dropping every frame between: nothing there needs to be unwound, since what an entry
 * holds is noted outside its stack.
 */
#include <linux/linkage.h>
#include <linux/objtool.h>
#ifdef CONFIG_UML
#define BENTO_HINT
#define BENTO_CALL_RAX call *%rax
#undef RET
#define RET ret
#else
#include <asm/nospec-branch.h>
#include <asm/unwind_hints.h>
#define BENTO_HINT UNWIND_HINT_FUNC
#define BENTO_CALL_RAX CALL_NOSPEC rax
#endif

	.text
SYM_FUNC_START(bento_guard)
	push %rbp
	mov %rsp, %rbp
	push %rbx
	push %r12
	push %r13
	push %r14
	push %r15
	push %rdi
	mov %rsp, (%rdi)
	mov %rsi, %rax
	mov %rdx, %rdi
	mov %rcx, %rsi
	mov %r8, %rdx
	BENTO_CALL_RAX
	movslq %eax, %rax
	pop %rdi
	movq $0, (%rdi)
	pop %r15
	pop %r14
	pop %r13
	pop %r12
	pop %rbx
	pop %rbp
	RET
SYM_FUNC_END(bento_guard)

/* No function to objtool, which must not follow the change of stack. */
SYM_CODE_START(bento_escape)
	BENTO_HINT
	mov %rsi, %rax
	mov (%rdi), %rsp
	movq $0, (%rdi)
	pop %rdi
	pop %r15
	pop %r14
	pop %r13
	pop %r12
	pop %rbx
	pop %rbp
	/* The stack is the guard's again, as at its call. */
	BENTO_HINT
	RET
SYM_CODE_END(bento_escape)

	.section .note.GNU-stack, "", @progbits
