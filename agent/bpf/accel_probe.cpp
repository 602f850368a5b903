// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
#include "agent/bpf/accel_probe.hpp"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <csignal>
#include <fcntl.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cstring>
#include <memory>
#include <string>
#include <thread>

#include "agent/bpf/libbpf_log.hpp"
#include "weft/base/unique_fd.hpp"

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wpedantic" // generated code
#pragma GCC diagnostic ignored "-Wconversion"
#pragma GCC diagnostic ignored "-Wsign-conversion"
#pragma GCC diagnostic ignored "-Wshadow"
#include "bpf/accel_probe.skel.h"
#pragma GCC diagnostic pop

namespace weft::bpf {
namespace {

constexpr int kPatienceMs = 500; ///< for what comes at once where it comes at all
constexpr int kLimitSeconds = 1; ///< of a call that waits
constexpr int kPauseMs = 20;      ///< until a thread surely waits

/// Two ends of a connection.
struct Ends {
    UniqueFd a, b;
};

void pause_for(int ms) {
    (void)::poll(nullptr, 0, ms); // only time passes
}

bool says(int fd, std::string_view text, int flags = 0) {
    return ::send(fd, text.data(), text.size(), flags | MSG_NOSIGNAL) == static_cast<ssize_t>(text.size());
}

std::string hears(int fd, std::size_t most = 64, int flags = 0) {
    std::array<char, 64> buffer{};
    const ssize_t got = ::recv(fd, buffer.data(), std::min(most, buffer.size()), flags);
    return got < 0 ? std::string("!") + strerrorname_np(errno) : std::string(buffer.data(), static_cast<size_t>(got));
}

bool comes(int fd, short events) {
    pollfd one{fd, events, 0};
    return ::poll(&one, 1, kPatienceMs) == 1 && (one.revents & events) != 0;
}

bool stream(const Ends& ends) {
    return says(ends.a.get(), "one ") && says(ends.a.get(), "two") && says(ends.b.get(), "back") &&
           ::shutdown(ends.a.get(), SHUT_WR) == 0 && hears(ends.b.get(), 7, MSG_WAITALL) == "one two" &&
           hears(ends.b.get()).empty() && hears(ends.a.get()) == "back";
}

bool peek(const Ends& ends) {
    return says(ends.a.get(), "word") && hears(ends.b.get(), 4, MSG_PEEK) == "word" && hears(ends.b.get()) == "word";
}

bool waitall(const Ends& ends) {
    if (!says(ends.a.get(), "one ")) {
        return false;
    }
    std::jthread later([&] {
        pause_for(kPauseMs);
        (void)says(ends.a.get(), "two"); // what arrives tells
    });
    return hears(ends.b.get(), 7, MSG_WAITALL) == "one two";
}

bool unread_count(const Ends& ends) {
    int count = 0;
    return says(ends.a.get(), "word") && comes(ends.b.get(), POLLIN) && ::ioctl(ends.b.get(), FIONREAD, &count) == 0 &&
           count == 4;
}

bool splice_from(const Ends& ends) {
    int pipe_ends[2];
    if (::pipe2(pipe_ends, O_CLOEXEC | O_NONBLOCK) != 0) {
        return false;
    }
    const UniqueFd out(pipe_ends[0]), in(pipe_ends[1]);
    return says(ends.a.get(), "word") && comes(ends.b.get(), POLLIN) &&
           ::splice(ends.b.get(), nullptr, in.get(), nullptr, 64, SPLICE_F_NONBLOCK) == 4;
}

bool urgent(const Ends& ends) {
    return says(ends.a.get(), "!", MSG_OOB) && comes(ends.b.get(), POLLPRI) && hears(ends.b.get(), 1, MSG_OOB) == "!";
}

bool discard(const Ends& ends) {
    return says(ends.a.get(), "12345678") && comes(ends.b.get(), POLLIN) &&
           ::recv(ends.b.get(), nullptr, 4, MSG_TRUNC) == 4 && hears(ends.b.get()) == "5678";
}

bool counted(const Ends& ends) {
    tcp_info info{};
    socklen_t size = sizeof info;
    return says(ends.a.get(), "word") && hears(ends.b.get()) == "word" &&
           ::getsockopt(ends.b.get(), IPPROTO_TCP, TCP_INFO, &info, &size) == 0 && info.tcpi_bytes_received == 4;
}

bool unread_at_close(Ends& ends) {
    if (!says(ends.a.get(), "word") || !comes(ends.b.get(), POLLIN)) {
        return false;
    }
    ends.b.reset();
    return comes(ends.a.get(), POLLIN) && hears(ends.a.get()) == "!ECONNRESET";
}

/// What a blocked read ends with, when `disturb` gets the reading thread.
template <typename Disturb>
std::string blocked_read(const Ends& ends, const Disturb& disturb) {
    std::string end;
    std::atomic<bool> begun = false, done = false;
    std::thread reader([&] {
        sigset_t all;
        (void)::sigemptyset(&all); // cannot fail for a valid pointer
        (void)::sigaddset(&all, SIGURG);
        (void)::pthread_sigmask(SIG_UNBLOCK, &all, nullptr); // the agent's threads may block every signal
        begun = true;
        end = hears(ends.b.get());
        done = true;
    });
    while (!begun) {
        pause_for(1);
    }
    pause_for(kPauseMs);
    for (int tries = 0; tries < 20 && !done; ++tries) {
        disturb(reader.native_handle());
        pause_for(kPauseMs);
    }
    reader.join(); // at last by the sockets' time limit
    return end;
}

bool reset_while_waiting(Ends& ends) {
    return blocked_read(ends, [&](pthread_t) {
               const linger now{1, 0};
               (void)::setsockopt(ends.a.get(), SOL_SOCKET, SO_LINGER, &now, sizeof now); // else the answer is wrong
               ends.a.reset();
           }) == "!ECONNRESET";
}

bool signal_while_waiting(const Ends& ends) {
    struct sigaction nothing{}, former{};
    nothing.sa_handler = [](int) {};
    if (::sigaction(SIGURG, &nothing, &former) != 0) {
        return false;
    }
    const auto end = blocked_read(ends, [](pthread_t reader) {
        (void)::pthread_kill(reader, SIGURG); // a reader that has ended already has an answer
    });
    (void)::sigaction(SIGURG, &former, nullptr); // it worked before
    return end == "!EINTR";
}

/// The acknowledgement of one's own end wakes whoever waits for the other's.
bool end_while_waiting(const Ends& ends) {
    std::string got;
    std::thread reader([&] { got = hears(ends.b.get()); });
    pause_for(kPauseMs);
    const bool ended = ::shutdown(ends.b.get(), SHUT_WR) == 0;
    pause_for(kPauseMs);
    const bool said = says(ends.a.get(), "word");
    reader.join();
    return ended && said && got == "word";
}

struct Trial {
    std::string_view name, what;
    bool (*kept)(Ends&);
};

template <bool (*Kept)(const Ends&)>
bool unchanged(Ends& ends) {
    return Kept(ends);
}

constexpr Trial kTrials[] = {
    {"stream", "bytes in order, both ways, then the end", unchanged<stream>},
    {"peek", "MSG_PEEK", unchanged<peek>},
    {"waitall", "MSG_WAITALL: returns what is there instead of waiting", unchanged<waitall>},
    {"splice", "splice from the socket: finds nothing, and waits", unchanged<splice_from>},
    {"fionread", "FIONREAD: says 0", unchanged<unread_count>},
    {"urgent", "MSG_OOB: arrives as ordinary data", unchanged<urgent>},
    {"discard", "MSG_TRUNC without a buffer: fails", unchanged<discard>},
    {"tcp-info", "TCP_INFO: does not count the bytes", unchanged<counted>},
    {"unread-close", "a close with unread bytes: no reset for the peer", unread_at_close},
    {"blocked-reset", "a reset while a read waits: EAGAIN instead of ECONNRESET", reset_while_waiting},
    {"blocked-end", "shutdown of one's own end while a read waits: the read ends with EAGAIN",
     unchanged<end_while_waiting>},
    {"blocked-signal", "a signal while a read waits: EAGAIN instead of EINTR", unchanged<signal_while_waiting>},
};

class Probe {
public:
    static Result<Probe> open() {
        Probe probe;
        const LibbpfLog log;
        probe.skeleton_.reset(accel_probe_bpf__open_and_load());
        if (probe.skeleton_ == nullptr) {
            return system_failure("loading the probe of acceleration ({})", log.tail());
        }
        const int attached = bpf_prog_attach(bpf_program__fd(probe.skeleton_->progs.weft_probe_msg),
                                             bpf_map__fd(probe.skeleton_->maps.weft_probe_sk), BPF_SK_MSG_VERDICT, 0);
        if (attached != 0) {
            return failure(-attached, "attaching the probe of acceleration: {}", std::strerror(-attached));
        }
        return probe;
    }

    [[nodiscard]] Result<> join(const Ends& ends) const {
        for (const UniqueFd* fd : {&ends.a, &ends.b}) {
            sockaddr_in name{};
            socklen_t size = sizeof name;
            if (::getsockname(fd->get(), reinterpret_cast<sockaddr*>(&name), &size) != 0) {
                return system_failure("naming a socket of the probe");
            }
            const std::uint32_t port = ntohs(name.sin_port);
            const std::uint64_t value = static_cast<std::uint64_t>(fd->get());
            if (bpf_map_update_elem(bpf_map__fd(skeleton_->maps.weft_probe_sk), &port, &value, BPF_ANY) != 0) {
                return system_failure("joining a socket of the probe");
            }
        }
        return {};
    }

private:
    struct Destroy {
        void operator()(accel_probe_bpf* skeleton) const { accel_probe_bpf__destroy(skeleton); }
    };
    std::unique_ptr<accel_probe_bpf, Destroy> skeleton_;
};

Result<Ends> connected() {
    const UniqueFd listener(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_in at{};
    socklen_t size = sizeof at;
    at.sin_family = AF_INET;
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    auto* name = reinterpret_cast<sockaddr*>(&at);
    Ends ends;
    ends.a = UniqueFd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    if (!listener.valid() || ::bind(listener.get(), name, size) != 0 || ::listen(listener.get(), 1) != 0 ||
        ::getsockname(listener.get(), name, &size) != 0 || ::connect(ends.a.get(), name, size) != 0) {
        return system_failure("connecting sockets of the probe over loopback");
    }
    ends.b = UniqueFd(::accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC));
    if (!ends.b.valid()) {
        return system_failure("accepting a socket of the probe");
    }
    const timeval limit{kLimitSeconds, 0};
    for (const UniqueFd* fd : {&ends.a, &ends.b}) {
        if (::setsockopt(fd->get(), SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit) != 0 ||
            ::setsockopt(fd->get(), SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit) != 0) {
            return system_failure("limiting a socket of the probe");
        }
    }
    return ends;
}

} // namespace

Result<std::vector<AccelRule>> probe_acceleration(bool joined) {
    WEFT_ASSIGN(const Probe probe, Probe::open());
    constexpr std::size_t kCount = std::size(kTrials);
    std::array<Ends, kCount> ends;
    std::vector<AccelRule> rules;
    for (std::size_t i = 0; i < kCount; ++i) {
        WEFT_ASSIGN(ends[i], connected());
        if (joined) {
            WEFT_TRY(probe.join(ends[i]));
        }
        rules.push_back({kTrials[i].name, kTrials[i].what, false});
    }
    // All at once: they mostly wait.
    std::vector<std::jthread> threads;
    threads.reserve(kCount);
    for (std::size_t i = 0; i < kCount; ++i) {
        threads.emplace_back([&rules, &ends, i] { rules[i].kept = kTrials[i].kept(ends[i]); });
    }
    threads.clear(); // waits for them
    return rules;
}

} // namespace weft::bpf
