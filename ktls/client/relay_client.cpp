// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// Messages to and from weft-relay.
#include "weft/ktls/relay_client.hpp"

#include <poll.h>

#include <array>
#include <cstring>

#include "ktls/message/message.hpp"

namespace weft::ktls {

std::string_view relay_reason_name(std::uint16_t reason) {
    static constexpr std::array kNames = {
#define WEFT_RELAY_REASON_WORD(name, word) std::string_view(word),
        WEFT_RELAY_REASONS(WEFT_RELAY_REASON_WORD)
#undef WEFT_RELAY_REASON_WORD
    };
    return reason < kNames.size() ? kNames[reason] : "unknown";
}

std::string_view relay_status_text(std::uint16_t status) {
    switch (status) {
    case WEFT_RELAY_OK:
        return "done";
    case WEFT_RELAY_BAD_REQUEST:
        return "the relay does not understand the request, or the descriptors are no connected TCP sockets";
    case WEFT_RELAY_NO_ROOM:
        return "the relay has no descriptors left: raise its limit of open files";
    case WEFT_RELAY_UNKNOWN_ID:
        return "the relay carries no such connection";
    case WEFT_RELAY_NOT_ACCEPTED:
        return "the installed weft-relay cannot take over from the running one: restart it when connections may break";
    case WEFT_RELAY_BUSY:
        return "the connection is held already";
    default:
        return "unknown status";
    }
}

Result<RelayClient> RelayClient::connect(const std::string& path) {
    sockaddr_un address{};
    if (!unix_address(path.c_str(), address)) {
        return invalid("relay socket '{}': the path is too long", path);
    }
    UniqueFd fd(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    if (!fd.valid() || ::connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
        return system_failure("relay socket '{}'", path);
    }
    return RelayClient(std::move(fd));
}

Result<> RelayClient::send(const weft_relay_request& request, std::span<const int> fds, std::string_view label) {
    const std::array<iovec, 2> parts{iovec{const_cast<weft_relay_request*>(&request), sizeof request},
                                     iovec{const_cast<char*>(label.data()), label.size()}};
    if (send_message(fd_.get(), parts, fds) < 0) {
        return system_failure("request to weft-relay");
    }
    return {};
}

Result<> RelayClient::send(std::uint16_t op, std::uint64_t id, std::uint32_t cursor) {
    weft_relay_request request{};
    request.version = WEFT_RELAY_PROTOCOL;
    request.op = op;
    request.id = id;
    request.cursor = cursor;
    return send(request);
}

Result<> RelayClient::hand_over(std::uint64_t id, int app, int peer, std::uint32_t flags, std::uint64_t key_limit,
                                std::string_view label) {
    weft_relay_request request{};
    request.version = WEFT_RELAY_PROTOCOL;
    request.op = WEFT_RELAY_HAND_OVER;
    request.flags = flags;
    request.id = id;
    request.key_limit = key_limit;
    const std::array fds = {app, peer};
    return send(request, fds, label);
}

Result<> RelayClient::keep(std::uint64_t id, int fd, std::string_view label) {
    weft_relay_request request{};
    request.version = WEFT_RELAY_PROTOCOL;
    request.op = WEFT_RELAY_KEEP;
    request.id = id;
    return send(request, std::span(&fd, 1), label);
}

Result<> RelayClient::fetch(std::uint64_t id) {
    return send(WEFT_RELAY_FETCH, id);
}

Result<> RelayClient::hello() {
    return send(WEFT_RELAY_HELLO);
}

Result<> RelayClient::list(std::uint32_t cursor) {
    return send(WEFT_RELAY_LIST, 0, cursor);
}

Result<> RelayClient::get(std::uint64_t id) {
    return send(WEFT_RELAY_LIST, id);
}

Result<> RelayClient::close(std::uint64_t id) {
    return send(WEFT_RELAY_CLOSE, id);
}

Result<> RelayClient::watch() {
    return send(WEFT_RELAY_WATCH);
}

Result<> RelayClient::upgrade() {
    return send(WEFT_RELAY_UPGRADE);
}

Result<> RelayClient::hold(std::uint64_t id) {
    return send(WEFT_RELAY_HOLD, id);
}

Result<> RelayClient::go_on(std::uint64_t id, std::uint32_t changed) {
    weft_relay_request request{};
    request.version = WEFT_RELAY_PROTOCOL;
    request.op = WEFT_RELAY_GO_ON;
    request.flags = changed;
    request.id = id;
    return send(request);
}

Result<std::optional<RelayMessage>> RelayClient::read_one() {
    std::array<char, WEFT_RELAY_ANSWER> buffer; // NOLINT(cppcoreguidelines-pro-type-member-init): filled by recvmsg
    iovec part{buffer.data(), buffer.size()};
    auto [size, flags, fds, count] = receive_message(fd_.get(), {&part, 1}, MSG_CMSG_CLOEXEC);
    if (size < 0 && (errno == EAGAIN || errno == EINTR)) {
        return std::nullopt;
    }
    if (size < 0) {
        return system_failure("answer of weft-relay");
    }
    RelayMessage result;
    for (std::size_t i = 0; i < count; ++i) {
        result.peer = UniqueFd(fds.at(i));
    }
    const auto got = static_cast<std::size_t>(size);
    if (got == 0) {
        return failure(EPIPE, "weft-relay has closed its socket");
    }
    if (got >= sizeof result.head) {
        std::memcpy(&result.head, buffer.data(), sizeof result.head);
    }
    if (result.head.version != WEFT_RELAY_PROTOCOL) {
        return failure(EPROTO, "weft-relay speaks another protocol");
    }
    if (result.head.op == WEFT_RELAY_HELLO) {
        if (got < sizeof result.info) {
            return failure(EPROTO, "weft-relay said too little about itself");
        }
        std::memcpy(&result.info, buffer.data(), sizeof result.info);
        result.info.program_version[WEFT_RELAY_VERSION_LENGTH - 1] = '\0';
        return result;
    }
    std::size_t at = sizeof result.head;
    for (unsigned i = 0; i < result.head.count; ++i) {
        weft_relay_entry entry{};
        if (got - at < sizeof entry) {
            return failure(EPROTO, "weft-relay sent a short list");
        }
        std::memcpy(&entry, buffer.data() + at, sizeof entry);
        at += sizeof entry;
        const std::size_t padded = (std::size_t{entry.label_size} + 7) / 8 * 8;
        if (entry.label_size > WEFT_RELAY_LABEL || got - at < padded) {
            return failure(EPROTO, "weft-relay sent a label that is cut");
        }
        result.entries.push_back(entry);
        result.labels.emplace_back(buffer.data() + at, entry.label_size);
        at += padded;
    }
    return result;
}

Result<std::optional<RelayMessage>> RelayClient::receive() {
    if (!waiting_.empty()) {
        auto first = std::move(waiting_.front());
        waiting_.pop_front();
        return first;
    }
    return read_one();
}

Result<RelayMessage> RelayClient::await(std::uint16_t op, std::chrono::milliseconds limit) {
    const auto end = std::chrono::steady_clock::now() + limit;
    while (true) {
        WEFT_ASSIGN(auto message, read_one());
        if (message && message->head.op == op) {
            return std::move(*message);
        }
        if (message) {
            waiting_.push_back(std::move(*message));
            continue;
        }
        const auto left =
            std::chrono::duration_cast<std::chrono::milliseconds>(end - std::chrono::steady_clock::now()).count();
        pollfd wanted{fd_.get(), POLLIN, 0};
        if (left <= 0 || ::poll(&wanted, 1, static_cast<int>(left)) == 0) {
            return failure(ETIMEDOUT, "weft-relay does not answer");
        }
    }
}

} // namespace weft::ktls
