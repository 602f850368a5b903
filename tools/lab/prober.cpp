// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// A poll loop over attempts. TCP: connect, then the responder's line. UDP: ask, and ask again, until the responder's
// line. SCTP: INIT until INIT ACK, over raw sockets.
#include "tools/lab/prober.hpp"

#include <poll.h>
#include <string.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <map>
#include <memory>
#include <span>

#include "tools/lab/fork_into.hpp"
#include "tools/lab/responder.hpp"
#include "tools/lab/sctp.hpp"
#include "tools/lab/socket_address.hpp"

namespace weft::lab {
namespace {

using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;

/// Attempts under way at once: enough to hide the timeouts, few enough that two cores answer all of them in time.
constexpr std::size_t kAtOnce = 200;
constexpr std::array kAskAgain{milliseconds(0), milliseconds(200), milliseconds(500), milliseconds(800)};
/// How long a connection that needs no answer is watched for one, to learn who answered.
constexpr milliseconds kCourtesy{100};

struct Attempt {
    Dial dial;
    UniqueFd fd;
    Clock::time_point begun;
    Clock::time_point connected; ///< TCP
    bool is_connected = false;
    std::size_t asked = 0; ///< UDP, SCTP: requests sent
    std::string received;
    DialResult result;
    bool done = false;
};

void finish(Attempt& attempt, probe::Verdict verdict, int code) {
    attempt.done = true;
    attempt.result.index = attempt.dial.index;
    attempt.result.verdict = verdict;
    const char* name = code != 0 ? ::strerrorname_np(code) : "";
    attempt.result.error = name != nullptr ? name : std::to_string(code);
    attempt.result.ms = std::chrono::duration<double, std::milli>(Clock::now() - attempt.begun).count();
    attempt.fd.reset();
}

/// What the network says about a destination is a denial; what this process cannot do is an error.
void finish_with_errno(Attempt& attempt, int code) {
    const bool local = code == EMFILE || code == ENFILE || code == ENOMEM || code == EADDRNOTAVAIL ||
                       code == EAFNOSUPPORT || code == EINVAL;
    finish(attempt, local ? probe::Verdict::kError : probe::Verdict::kDeny, code);
}

int pending_error(int fd) {
    int code = 0;
    socklen_t size = sizeof code;
    (void)::getsockopt(fd, SOL_SOCKET, SO_ERROR, &code, &size);
    return code;
}

/// "weft-lab ns/pod\n..." to "ns/pod"; empty when it is something else.
std::string answerer(const std::string& text) {
    const auto end = text.find('\n');
    return text.starts_with(kAnswerMark) && end != std::string::npos
               ? text.substr(kAnswerMark.size(), end - kAnswerMark.size())
               : "";
}

void begin(Attempt& attempt) {
    attempt.begun = Clock::now();
    const auto& dial = attempt.dial;
    const bool sctp = dial.protocol == IPPROTO_SCTP;
    const int type = sctp ? SOCK_RAW : dial.protocol == IPPROTO_TCP ? SOCK_STREAM : SOCK_DGRAM;
    attempt.fd.reset(
        ::socket(dial.ip.is_v4() ? AF_INET : AF_INET6, type | SOCK_CLOEXEC | SOCK_NONBLOCK, sctp ? IPPROTO_SCTP : 0));
    if (!attempt.fd.valid()) {
        finish_with_errno(attempt, errno);
        return;
    }
    const auto address = socket_address(dial.ip, sctp ? 0 : dial.port);
    if (!sctp && ::connect(attempt.fd.get(), address.get(), address.size) != 0 && errno != EINPROGRESS) {
        finish_with_errno(attempt, errno);
    }
}

std::uint16_t sctp_port(const Attempt& attempt) {
    return static_cast<std::uint16_t>(20000 + attempt.dial.index % 40000);
}

constexpr std::uint32_t kOurTag = 0x70726f62;

/// Sends the request that is due, if one is.
void ask(Attempt& attempt) {
    if (attempt.dial.protocol == IPPROTO_TCP || attempt.asked == kAskAgain.size() ||
        Clock::now() - attempt.begun < kAskAgain[attempt.asked]) {
        return;
    }
    ++attempt.asked;
    ssize_t sent = 0;
    if (attempt.dial.protocol == IPPROTO_UDP) {
        constexpr std::string_view kQuestion = "who?";
        sent = ::send(attempt.fd.get(), kQuestion.data(), kQuestion.size(), MSG_NOSIGNAL);
    } else {
        const auto init = make_sctp({.source = sctp_port(attempt),
                                     .destination = attempt.dial.port,
                                     .first_chunk = kSctpInit,
                                     .verification = 0,
                                     .initiate_tag = kOurTag});
        const auto address = socket_address(attempt.dial.ip, 0);
        sent = ::sendto(attempt.fd.get(), init.data(), init.size(), 0, address.get(), address.size);
    }
    if (sent < 0 && errno != EAGAIN) {
        finish_with_errno(attempt, errno);
    }
}

void read_tcp(Attempt& attempt) {
    if (!attempt.is_connected) {
        if (const int code = pending_error(attempt.fd.get()); code != 0) {
            finish_with_errno(attempt, code);
            return;
        }
        attempt.is_connected = true;
        attempt.connected = Clock::now();
    }
    std::array<char, 512> block{};
    const auto got = ::recv(attempt.fd.get(), block.data(), block.size(), 0);
    if (got < 0 && errno == EAGAIN) {
        return;
    }
    if (got > 0) {
        attempt.received.append(block.data(), static_cast<std::size_t>(got));
    }
    attempt.result.answered_by = answerer(attempt.received);
    if (!attempt.result.answered_by.empty() || !attempt.dial.must_answer) {
        finish(attempt, probe::Verdict::kAllow, 0); // any word of an application's own will do
    } else if (got <= 0) {
        finish_with_errno(attempt, got < 0 ? errno : ECONNRESET);
    }
}

void read_udp(Attempt& attempt) {
    std::array<char, 512> block{};
    const auto got = ::recv(attempt.fd.get(), block.data(), block.size(), 0);
    if (got < 0) {
        if (errno != EAGAIN) {
            finish_with_errno(attempt, errno);
        }
        return;
    }
    attempt.result.answered_by = answerer(std::string(block.data(), static_cast<std::size_t>(got)));
    if (!attempt.result.answered_by.empty() || !attempt.dial.must_answer) {
        finish(attempt, probe::Verdict::kAllow, 0);
    }
}

void read_sctp(Attempt& attempt) {
    std::array<std::uint8_t, 2048> packet{};
    const auto got = ::recv(attempt.fd.get(), packet.data(), packet.size(), 0);
    if (got <= 0) {
        return;
    }
    const std::span<const std::uint8_t> bytes(packet.data(), static_cast<std::size_t>(got));
    const std::size_t header = attempt.dial.ip.is_v4() ? std::size_t{packet[0] & 0x0fU} * 4 : 0;
    const auto answer = header <= bytes.size() ? parse_sctp(bytes.subspan(header)) : std::nullopt;
    // A raw socket sees every SCTP packet of the namespace, also those of other attempts.
    if (answer && answer->destination == sctp_port(attempt) && answer->source == attempt.dial.port &&
        answer->first_chunk == kSctpInitAck && answer->verification == kOurTag) {
        finish(attempt, probe::Verdict::kAllow, 0);
    }
}

void check_time(Attempt& attempt) {
    const auto now = Clock::now();
    if (attempt.is_connected && !attempt.dial.must_answer && now - attempt.connected > kCourtesy) {
        finish(attempt, probe::Verdict::kAllow, 0);
    } else if (now - attempt.begun > milliseconds(kProbeTimeoutMs)) {
        finish(attempt, probe::Verdict::kDeny, ETIMEDOUT);
    }
}

short wanted_events(const Attempt& attempt) {
    return attempt.dial.protocol == IPPROTO_TCP && !attempt.is_connected ? POLLOUT : POLLIN;
}

std::string to_line(const DialResult& result) {
    return nlohmann::json{{"index", result.index},
                          {"verdict", static_cast<int>(result.verdict)},
                          {"error", result.error},
                          {"by", result.answered_by},
                          {"ms", result.ms}}
               .dump() +
           "\n";
}

} // namespace

void dial_all(const std::vector<Dial>& dials, int output) {
    std::size_t next = 0;
    std::vector<std::unique_ptr<Attempt>> running;
    while (next < dials.size() || !running.empty()) {
        while (next < dials.size() && running.size() < kAtOnce) {
            running.push_back(std::make_unique<Attempt>());
            running.back()->dial = dials[next++];
            begin(*running.back());
        }
        std::vector<pollfd> events;
        for (auto& attempt : running) {
            if (!attempt->done) {
                ask(*attempt);
            }
            events.push_back({attempt->done ? -1 : attempt->fd.get(), wanted_events(*attempt), 0});
        }
        (void)::poll(events.data(), events.size(), 10); // the timeouts are coarse, the answers are not
        for (std::size_t i = 0; i < running.size(); ++i) {
            auto& attempt = *running[i];
            if (!attempt.done && events[i].revents != 0) {
                attempt.dial.protocol == IPPROTO_TCP   ? read_tcp(attempt)
                : attempt.dial.protocol == IPPROTO_UDP ? read_udp(attempt)
                                                       : read_sctp(attempt);
            }
            if (!attempt.done) {
                check_time(attempt);
            }
            if (attempt.done) {
                write_all(output, to_line(attempt.result));
            }
        }
        std::erase_if(running, [](const auto& attempt) { return attempt->done; });
    }
}

Result<DialResult> parse_dial_result(const std::string& line) {
    const auto json = nlohmann::json::parse(line, nullptr, /*allow_exceptions=*/false);
    if (!json.is_object() || !json.contains("index")) {
        return failure(EPROTO, "{}", line);
    }
    return DialResult{.index = json["index"].get<std::size_t>(),
                      .verdict = static_cast<probe::Verdict>(json["verdict"].get<int>()),
                      .error = json["error"].get<std::string>(),
                      .answered_by = json["by"].get<std::string>(),
                      .ms = json["ms"].get<double>()};
}

} // namespace weft::lab
