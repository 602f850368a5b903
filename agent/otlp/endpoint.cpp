// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
#include "agent/otlp/endpoint.hpp"

#include <string_view>

#include "weft/base/ip.hpp"

namespace weft::otlp {

Result<Endpoint> parse_endpoint(const std::string& text) {
    constexpr std::string_view kPlain = "http://", kTls = "https://", kSocket = "unix://";
    if (text.starts_with(kSocket)) {
        if (text.size() <= kSocket.size() || text[kSocket.size()] != '/') {
            return invalid("'{}' is no socket; write unix:///PATH", text);
        }
        return Endpoint{.target = text};
    }
    const bool tls = text.starts_with(kTls);
    auto address = text.substr(tls ? kTls.size() : text.starts_with(kPlain) ? kPlain.size() : text.size());
    if (address.ends_with("/")) {
        address.pop_back();
    }
    const auto colon = address.rfind(':');
    const auto host = address.substr(0, colon);
    const auto port = colon == std::string::npos ? "" : address.substr(colon + 1);
    const bool digits = !port.empty() && port.size() <= 5 && port.find_first_not_of("0123456789") == std::string::npos;
    const bool bracketed = host.size() > 2 && host.front() == '[' && host.back() == ']';
    if (host.empty() || !digits || std::stoul(port) == 0 || std::stoul(port) > 65535 ||
        address.find('/') != std::string::npos || (!bracketed && host.find(':') != std::string::npos)) {
        return invalid("'{}' is no endpoint of OTLP by gRPC; write https://HOST:PORT, http://HOST:PORT or unix:///PATH",
                       text);
    }
    const auto ip = Ip::parse(bracketed ? host.substr(1, host.size() - 2) : host);
    const bool loopback = host == "localhost" || (ip && ip->is_loopback());
    return Endpoint{.target = "dns:///" + address, .tls = tls, .leaves_node = !loopback};
}

} // namespace weft::otlp
