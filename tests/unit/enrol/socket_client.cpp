// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// The test client.
#include "tests/unit/enrol/socket_client.hpp"

#include <poll.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <stdexcept>

#include "agent/enrol/frame.hpp"

namespace weft::enrol::test {

Folder::Folder() {
    std::string pattern = std::filesystem::temp_directory_path() / "weft-enrol-XXXXXX";
    if (::mkdtemp(pattern.data()) == nullptr) {
        throw std::runtime_error("mkdtemp failed");
    }
    path_ = pattern;
}

Folder::~Folder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
}

std::string Folder::path(std::string_view name) const {
    return path_ / name;
}

Client::Client(const std::string& path) : fd_(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    path.copy(address.sun_path, sizeof address.sun_path - 1);
    if (::connect(fd_.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
        fd_.reset();
    }
}

bool Client::send(std::string_view bytes) const {
    while (!bytes.empty()) {
        const ssize_t put = ::send(fd_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
        if (put <= 0) {
            return false;
        }
        bytes.remove_prefix(static_cast<std::size_t>(put));
    }
    return true;
}

std::optional<std::string> Client::read_to_end(int limit_ms) const {
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::milliseconds(limit_ms);
    std::string out;
    std::array<char, 4096> buffer{};
    while (true) {
        const auto left =
            std::chrono::ceil<std::chrono::milliseconds>(deadline - std::chrono::steady_clock::now()).count();
        pollfd entry{.fd = fd_.get(), .events = POLLIN, .revents = 0};
        if (left <= 0 || ::poll(&entry, 1, static_cast<int>(left)) <= 0) {
            return std::nullopt;
        }
        const ssize_t got = ::recv(fd_.get(), buffer.data(), buffer.size(), 0);
        if (got <= 0) {
            return out; // closed, or reset with bytes of ours unread
        }
        out.append(buffer.data(), static_cast<std::size_t>(got));
    }
}

std::optional<Response> Client::response(int limit_ms) const {
    const auto bytes = read_to_end(limit_ms);
    if (!bytes) {
        return std::nullopt;
    }
    FrameDecoder decoder;
    const auto payload = decoder.feed(*bytes);
    Response out;
    if (!payload || !payload->has_value() || !out.ParseFromString(**payload)) {
        return std::nullopt;
    }
    return out;
}

std::string framed(const Request& request) {
    return encode_frame(request.SerializeAsString()).value();
}

} // namespace weft::enrol::test
