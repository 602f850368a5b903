// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
#include "agent/app/service_manager.hpp"

#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <charconv>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <optional>

#include "weft/base/unique_fd.hpp"

namespace weft::app {
namespace {

std::string_view variable(const char* name) {
    const char* value = std::getenv(name);
    return value == nullptr ? std::string_view{} : value;
}

std::optional<std::int64_t> number(std::string_view text) {
    std::int64_t value = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    return error == std::errc{} && end == text.data() + text.size() ? std::optional(value) : std::nullopt;
}

} // namespace

void notify_service_manager(std::string_view state) {
    const auto path = variable("NOTIFY_SOCKET");
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    if (path.empty() || path.size() > sizeof address.sun_path) {
        return;
    }
    path.copy(address.sun_path, path.size());
    if (path.front() == '@') {
        address.sun_path[0] = '\0'; // an abstract name
    }
    const UniqueFd fd(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    if (!fd.valid()) {
        return;
    }
    const auto size = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + path.size());
    (void)::sendto(fd.get(), state.data(), state.size(), MSG_NOSIGNAL | MSG_DONTWAIT,
                   reinterpret_cast<const sockaddr*>(&address), size); // see the header
}

std::chrono::microseconds watchdog_timeout() {
    const auto process = variable("WATCHDOG_PID");
    if (!process.empty() && number(process) != ::getpid()) {
        return {}; // meant for a parent
    }
    return std::chrono::microseconds(number(variable("WATCHDOG_USEC")).value_or(0));
}

} // namespace weft::app
