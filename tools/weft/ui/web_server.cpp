// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// The listener is civetweb's, as the agent's metrics have it.
#include "tools/weft/ui/web_server.hpp"

#include <arpa/inet.h>
#include <civetweb.h>
#include <sys/random.h>

#include <algorithm>
#include <array>
#include <string_view>

#include "tools/weft/ui/assets.hpp"

namespace weft::ui {
namespace {

/// On every answer: nothing but our own files, no frame around us, no guess at types, no copy kept.
constexpr std::string_view kHeaders =
    "Content-Security-Policy: default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
    "require-trusted-types-for 'script'; trusted-types 'none'\r\n"
    "X-Content-Type-Options: nosniff\r\n"
    "X-Frame-Options: DENY\r\n"
    "Referrer-Policy: no-referrer\r\n"
    "Cross-Origin-Opener-Policy: same-origin\r\n"
    "Cross-Origin-Resource-Policy: same-origin\r\n"
    "Cache-Control: no-store\r\n"
    "Connection: close\r\n";

constexpr std::string_view kText = "text/plain; charset=utf-8";

void answer(mg_connection* to, std::string_view status, std::string_view type, std::string_view body,
            std::string_view extra = "") {
    const auto head = fmt::format("HTTP/1.1 {}\r\nContent-Type: {}\r\nContent-Length: {}\r\n{}{}\r\n", status, type,
                                  body.size(), kHeaders, extra);
    if (::mg_write(to, head.data(), head.size()) > 0) {
        (void)::mg_write(to, body.data(), body.size()); // a reader that went away needs no answer
    }
}

/// "127.0.0.1:4680" without the port, "[::1]:1" as "::1".
std::string_view host_of(std::string_view address) {
    if (address.starts_with('[')) {
        return address.substr(1, std::min(address.find(']'), address.size()) - 1);
    }
    return address.substr(0, address.find(':'));
}

bool is_loopback(std::string_view host) {
    in_addr v4{};
    in6_addr v6{};
    const std::string text(host);
    if (::inet_pton(AF_INET, text.c_str(), &v4) == 1) {
        return (ntohl(v4.s_addr) >> 24U) == 127;
    }
    return text == "localhost" || (::inet_pton(AF_INET6, text.c_str(), &v6) == 1 && IN6_IS_ADDR_LOOPBACK(&v6));
}

/// Takes as long whatever is wrong with it.
bool same_key(std::string_view given, std::string_view key) {
    unsigned difference = given.size() == key.size() ? 0U : 1U;
    for (std::size_t i = 0; i < key.size(); ++i) {
        difference |= static_cast<unsigned>(key[i] ^ (i < given.size() ? given[i] : '\0'));
    }
    return difference == 0;
}

std::string lower(std::string_view text) {
    std::string out(text);
    std::ranges::transform(out, out.begin(), [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
    return out;
}

} // namespace

class WebServer::Impl {
public:
    Impl(WebOptions options, WebData data) : options_(std::move(options)), data_(std::move(data)) {}
    ~Impl() {
        if (context != nullptr) {
            ::mg_stop(context);
        }
    }
    Impl(const Impl&) = delete;
    Impl& operator=(const Impl&) = delete;

    static int begin_request(mg_connection* connection) {
        const auto* request = ::mg_get_request_info(connection);
        static_cast<const Impl*>(request->user_data)->handle(connection, *request);
        return 1; // answered
    }

    /// What civetweb says of its last trouble.
    static int log_message(const mg_connection* connection, const char* message) {
        if (const auto* context_of = ::mg_get_context(connection); context_of != nullptr) {
            static_cast<Impl*>(::mg_get_user_data(context_of))->trouble = message;
        }
        return 1; // nothing is to be printed
    }

    std::string trouble;
    mg_context* context = nullptr;

private:
    void handle(mg_connection* connection, const mg_request_info& request) const {
        const std::string_view path = request.local_uri == nullptr ? "" : request.local_uri; // "OPTIONS *" has none
        const char* host = ::mg_get_header(connection, "Host");
        if (host == nullptr || !known(host_of(host))) {
            answer(connection, "421 Misdirected Request", kText,
                   "this name is not mine: ask for localhost, or start `weft ui` with --allow-host NAME\n");
        } else if (std::string_view(request.request_method) != "GET") {
            answer(connection, "405 Method Not Allowed", kText, "only GET is answered\n", "Allow: GET\r\n");
        } else if (path.starts_with("/api/")) {
            data(connection, path, request.query_string == nullptr ? "" : request.query_string);
        } else if (const auto* asset = find_asset(path); asset != nullptr) {
            answer(connection, "200 OK", asset->type, asset->body);
        } else {
            answer(connection, "404 Not Found", kText, "no such file\n");
        }
    }

    void data(mg_connection* connection, std::string_view path, std::string_view query) const {
        constexpr std::string_view kJson = "application/json";
        const char* key = ::mg_get_header(connection, "X-Weft-Key");
        if (key == nullptr || !same_key(key, options_.key)) {
            answer(connection, "401 Unauthorized", kText,
                   "open the address that `weft ui` printed: it holds the key\n");
        } else if (path == "/api/graph") {
            answer(connection, "200 OK", kJson, data_.graph());
        } else if (path == "/api/edge") {
            std::array<char, 2048> id{};
            const int size = ::mg_get_var(query.data(), query.size(), "id", id.data(), id.size());
            const auto found = size < 0 ? std::nullopt : data_.edge({id.data(), static_cast<std::size_t>(size)});
            found ? answer(connection, "200 OK", kJson, *found)
                  : answer(connection, "404 Not Found", kText, "no such edge\n");
        } else {
            answer(connection, "404 Not Found", kText, "no such data\n");
        }
    }

    [[nodiscard]] bool known(std::string_view host) const {
        const auto name = lower(host);
        return is_loopback(name) || std::ranges::find(options_.hosts, name) != options_.hosts.end();
    }

    const WebOptions options_;
    const WebData data_;
};

WebServer::WebServer(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
WebServer::WebServer(WebServer&&) noexcept = default;
WebServer& WebServer::operator=(WebServer&&) noexcept = default;
WebServer::~WebServer() = default;

Result<WebServer> WebServer::start(WebOptions options, WebData data) {
    const auto host = host_of(options.listen);
    // Commas and suffixes mean more listeners, or TLS, to civetweb.
    if (host.empty() || options.listen.find_first_not_of("0123456789abcdefABCDEF.:[]") != std::string::npos) {
        return invalid("--listen '{}': expected ADDRESS:PORT, such as 127.0.0.1:4680 or [::1]:4680", options.listen);
    }
    if (!is_loopback(host) && options.hosts.empty()) {
        return invalid("--listen {} can be reached from other machines, and the page is not encrypted: forward a port "
                       "instead (ssh -L 4680:127.0.0.1:4680 NODE), or name with --allow-host what browsers call it",
                       options.listen);
    }
    std::ranges::transform(options.hosts, options.hosts.begin(), lower);
    const auto address = options.listen;
    auto impl = std::make_unique<Impl>(std::move(options), std::move(data));
    mg_callbacks callbacks{};
    callbacks.begin_request = &Impl::begin_request;
    callbacks.log_message = &Impl::log_message;
    const std::array<const char*, 9> settings{
        "listening_ports", address.c_str(),     "num_threads", "4",    "request_timeout_ms",
        "10000",           "enable_keep_alive", "no",          nullptr};
    impl->context = ::mg_start(&callbacks, impl.get(), const_cast<const char**>(settings.data()));
    if (impl->context == nullptr) {
        return failure(EADDRINUSE, "cannot serve on {}{}{}; give another address with --listen", address,
                       impl->trouble.empty() ? "" : ": ", impl->trouble);
    }
    return WebServer(std::move(impl));
}

int WebServer::port() const {
    mg_server_port port{};
    return ::mg_get_server_ports(impl_->context, 1, &port) > 0 ? port.port : 0;
}

Result<std::string> make_key() {
    std::array<unsigned char, 16> bytes{};
    if (::getrandom(bytes.data(), bytes.size(), 0) != static_cast<ssize_t>(bytes.size())) {
        return system_failure("cannot get random bytes");
    }
    std::string key;
    for (const auto byte : bytes) {
        key += fmt::format("{:02x}", byte);
    }
    return key;
}

} // namespace weft::ui
