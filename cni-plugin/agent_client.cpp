// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// The plugin's end of the enrolment socket.
#include "cni-plugin/agent_client.hpp"

#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <array>

#include "agent/enrol/frame.hpp"
#include "weft/base/unique_fd.hpp"

namespace weft::cni {
namespace {

using Clock = std::chrono::steady_clock;

Result<> wait_for(int fd, short events, Clock::time_point deadline) {
    while (true) {
        const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline - Clock::now()).count();
        pollfd entry{.fd = fd, .events = events, .revents = 0};
        const int ready = left <= 0 ? 0 : ::poll(&entry, 1, static_cast<int>(left));
        if (ready > 0) {
            return {};
        }
        if (ready == 0) {
            return failure(ETIMEDOUT, "the agent did not answer in time");
        }
        if (errno != EINTR) {
            return system_failure("poll");
        }
    }
}

Result<UniqueFd> connect_to(const std::string& path, Clock::time_point deadline) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    if (path.size() >= sizeof address.sun_path) {
        return failure(ENAMETOOLONG, "socket path {} is too long", path);
    }
    path.copy(address.sun_path, path.size());
    while (true) {
        UniqueFd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
        if (!fd.valid()) {
            return system_failure("socket");
        }
        // A blocking connect waits for room in the agent's queue, at most this long.
        const auto left = std::chrono::ceil<std::chrono::microseconds>(deadline - Clock::now()).count();
        const timeval limit{.tv_sec = left / 1000000, .tv_usec = left % 1000000};
        if (left <= 0) {
            return failure(ETIMEDOUT, "the agent did not answer in time");
        }
        if (::setsockopt(fd.get(), SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit) != 0) {
            return system_failure("SO_SNDTIMEO");
        }
        if (::connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0) {
            return fd;
        }
        if (errno == EAGAIN) {
            return failure(ETIMEDOUT, "the agent's queue is full");
        }
        if (errno != EINTR) {
            return system_failure("connect to {}", path);
        }
    }
}

Result<> send_all(int fd, std::string_view bytes, Clock::time_point deadline) {
    while (!bytes.empty()) {
        const ssize_t put = ::send(fd, bytes.data(), bytes.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
        if (put > 0) {
            bytes.remove_prefix(static_cast<std::size_t>(put));
        } else if (errno == EAGAIN) {
            WEFT_TRY(wait_for(fd, POLLOUT, deadline));
        } else if (errno != EINTR) {
            return system_failure("send to the agent");
        }
    }
    return {};
}

Result<std::string> receive_frame(int fd, Clock::time_point deadline) {
    enrol::FrameDecoder decoder;
    std::array<char, 4096> buffer{};
    while (true) {
        WEFT_TRY(wait_for(fd, POLLIN, deadline));
        const ssize_t got = ::recv(fd, buffer.data(), buffer.size(), MSG_DONTWAIT);
        if (got < 0 && (errno == EAGAIN || errno == EINTR)) {
            continue;
        }
        if (got < 0) {
            return system_failure("receive from the agent");
        }
        if (got == 0) {
            return failure(ECONNRESET, "the agent closed the connection without a whole answer");
        }
        auto payload = decoder.feed({buffer.data(), static_cast<std::size_t>(got)});
        if (!payload) {
            return std::unexpected(std::move(payload).error());
        }
        if (payload->has_value()) {
            return std::move(payload->value());
        }
    }
}

CniError not_reached(const NetConf& conf, const Error& error) {
    switch (error.code()) {
    case ENOENT:
    case ECONNREFUSED:
        return {Code::kTryAgainLater, fmt::format("the Weft agent does not run on this node: {}", error.message()),
                "start weftd (systemctl start weftd), or point agentSocket of the network configuration to its socket"};
    case EACCES:
    case EPERM:
        return {Code::kTryAgainLater, fmt::format("no permission to reach the Weft agent: {}", error.message()),
                "run the container runtime as root"};
    case ETIMEDOUT:
    case ECONNRESET:
    case EPIPE:
        return {Code::kTryAgainLater,
                fmt::format("{} ({}, {} s)", error.message(), conf.agent_socket, conf.timeout.count() / 1000),
                "see weft status on this node; timeoutSeconds of the network configuration sets the limit"};
    default:
        return {Code::kIo, fmt::format("cannot talk to the Weft agent: {}", error.message()),
                "install the same version of weft-cni and weftd"};
    }
}

} // namespace

Result<enrol::Response> ask_agent(const std::string& socket_path, const enrol::Request& request,
                                  std::chrono::milliseconds timeout) {
    const auto deadline = Clock::now() + timeout;
    WEFT_ASSIGN(const std::string frame, enrol::encode_frame(request.SerializeAsString()));
    WEFT_ASSIGN(const UniqueFd fd, connect_to(socket_path, deadline));
    // An agent that refuses early has answered before everything was sent: its answer counts, not the broken pipe.
    const auto sent = send_all(fd.get(), frame, deadline);
    if (!sent && sent.error().code() != EPIPE && sent.error().code() != ECONNRESET) {
        return std::unexpected(sent.error());
    }
    WEFT_ASSIGN(const std::string payload, receive_frame(fd.get(), deadline));
    enrol::Response response;
    if (!response.ParseFromString(payload)) {
        return failure(EPROTO, "the answer is no weft.enrol.Response");
    }
    return response;
}

CniResult<> call_agent(const NetConf& conf, enrol::Request request) {
    request.set_protocol(enrol::kProtocol);
    const auto response = ask_agent(conf.agent_socket, request, conf.timeout);
    if (!response) {
        return std::unexpected(not_reached(conf, response.error()));
    }
    const std::string& message = response->message();
    switch (response->code()) {
    case enrol::Response::OK:
        return {};
    case enrol::Response::INVALID:
        return fail(Code::kInvalidConfig, message);
    case enrol::Response::UNAVAILABLE:
        return fail(Code::kTryAgainLater, message, "see weft status on this node");
    case enrol::Response::UNSUPPORTED:
        return fail(Code::kTryAgainLater, message, "install the same version of weft-cni and weftd");
    case enrol::Response::NOT_FOUND:
        return fail(Code::kUnknownContainer, message);
    default:
        return fail(Code::kAgentFailed, message, "see the log of weftd on this node");
    }
}

} // namespace weft::cni
