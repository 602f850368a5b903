// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// Lists of system calls, made into the small programs that seccomp runs. A call that is not listed ends the process.
#include "ktls/relay/sandbox.hpp"

#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <span>

#include <linux/audit.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/seccomp.h>

namespace weft::relay {
namespace {

// clang-format off
constexpr std::uint16_t kChildCalls[] = {
    SYS_splice, SYS_epoll_pwait, SYS_epoll_ctl, SYS_recvmsg, SYS_sendmsg, SYS_getsockopt, SYS_setsockopt, SYS_shutdown,
    SYS_ioctl, SYS_pipe2, SYS_close, SYS_read, SYS_write, SYS_exit_group, SYS_exit, SYS_futex, SYS_rt_sigreturn,
    SYS_restart_syscall, SYS_ppoll,
#ifdef SYS_epoll_wait
    SYS_epoll_wait, SYS_poll,
#endif
};

// The parent's besides: its own work, then what starting a program takes. Children inherit both lists, and add the first.
constexpr std::uint16_t kParentCalls[] = {
    SYS_accept4, SYS_fcntl, SYS_clone, SYS_clone3, SYS_wait4, SYS_kill, SYS_getpid, SYS_getppid, SYS_gettid, SYS_tgkill,
    SYS_execve, SYS_signalfd4, SYS_clock_gettime, SYS_clock_nanosleep, SYS_epoll_create1, SYS_rt_sigprocmask,
    SYS_rt_sigaction, SYS_prctl, SYS_seccomp, SYS_brk, SYS_mmap, SYS_munmap, SYS_mprotect, SYS_madvise, SYS_mremap,
    SYS_openat, SYS_fstat, SYS_newfstatat, SYS_lseek, SYS_pread64, SYS_faccessat, SYS_readlinkat, SYS_prlimit64,
    SYS_getrandom, SYS_set_tid_address, SYS_set_robust_list, SYS_rseq, SYS_sched_getaffinity, SYS_sigaltstack,
    SYS_uname, SYS_statx,
#ifdef SYS_access
    SYS_access, SYS_readlink, SYS_arch_prctl, SYS_vfork, SYS_fork,
#endif
};
// clang-format on

#if defined(__x86_64__)
constexpr std::uint32_t kArchitecture = AUDIT_ARCH_X86_64;
#elif defined(__aarch64__)
constexpr std::uint32_t kArchitecture = AUDIT_ARCH_AARCH64;
#else
#error "weft-relay knows the system calls of x86-64 and arm64"
#endif

bool confine(std::initializer_list<std::span<const std::uint16_t>> lists) {
    constexpr std::size_t kMost = 256;
    sock_filter program[kMost];
    std::size_t size = 0;
    const auto put = [&](std::uint16_t code, std::uint32_t k, std::uint8_t yes = 0, std::uint8_t no = 0) {
        program[size++] = sock_filter{code, yes, no, k};
    };
    put(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, arch));
    put(BPF_JMP | BPF_JEQ | BPF_K, kArchitecture, 1, 0);
    put(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS);
    put(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr));
    // x32's numbers carry a high bit, so they match none of these.
    for (const auto list : lists) {
        for (const auto call : list) {
            put(BPF_JMP | BPF_JEQ | BPF_K, call, 0, 1);
            put(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
        }
    }
    put(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS);
    const sock_fprog whole{static_cast<unsigned short>(size), program};
    return ::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
           ::syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &whole) == 0;
}

} // namespace

bool drop_capabilities() {
    for (unsigned long capability = 0; ::prctl(PR_CAPBSET_READ, capability, 0, 0, 0) >= 0; ++capability) {
        if (::prctl(PR_CAPBSET_DROP, capability, 0, 0, 0) != 0 && errno != EPERM) {
            return false; // EPERM: not root, and there was nothing to give up
        }
    }
    if (::prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) != 0 ||
        ::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) {
        return false;
    }
    __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
    const __user_cap_data_struct none[2] = {};
    return ::syscall(SYS_capset, &header, none) == 0;
}

bool confine_parent() {
    // After an upgrade the list of the program before still holds, and every further one would cost each system call.
    return ::prctl(PR_GET_SECCOMP, 0, 0, 0, 0) == SECCOMP_MODE_FILTER || confine({kChildCalls, kParentCalls});
}

bool confine_thread() {
    return confine({kChildCalls});
}

} // namespace weft::relay
