// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// The listener is civetweb's, the one that prometheus-cpp's exposer uses; the exposer itself serves metrics only.
#include "agent/telemetry/http_pages.hpp"

#include <civetweb.h>
#include <zlib.h>

#include <array>
#include <cstring>
#include <optional>
#include <string_view>

namespace weft::telemetry {
namespace {

/// Below this a compressed body saves no packet.
constexpr std::size_t kWorthCompressing = 1400;
constexpr int kGzip = 15 + 16; // the largest window; 16: with gzip's head

std::optional<std::string> compressed(const std::string& body) {
    z_stream stream{};
    if (::deflateInit2(&stream, Z_BEST_SPEED, Z_DEFLATED, kGzip, 8, Z_DEFAULT_STRATEGY) != Z_OK) {
        return std::nullopt;
    }
    std::string out(::deflateBound(&stream, body.size()), '\0');
    stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(body.data())); // zlib reads it only
    stream.avail_in = static_cast<uInt>(body.size());
    stream.next_out = reinterpret_cast<Bytef*>(out.data());
    stream.avail_out = static_cast<uInt>(out.size());
    const bool done = ::deflate(&stream, Z_FINISH) == Z_STREAM_END;
    out.resize(stream.total_out);
    (void)::deflateEnd(&stream);
    return done ? std::optional(std::move(out)) : std::nullopt;
}

const char* reason_of(int status) {
    switch (status) {
    case 200:
        return "OK";
    case 404:
        return "Not Found";
    case 405:
        return "Method Not Allowed";
    default:
        return "Service Unavailable";
    }
}

void answer(mg_connection* to, const HttpPage& page, bool with_body, bool may_compress) {
    std::optional<std::string> small;
    if (may_compress && page.body.size() >= kWorthCompressing) {
        small = compressed(page.body);
    }
    const auto& body = small ? *small : page.body;
    (void)::mg_printf(to, "HTTP/1.1 %d %s\r\nContent-Type: %s\r\nContent-Length: %zu\r\n%s%sConnection: close\r\n\r\n",
                      page.status, reason_of(page.status), page.type.c_str(), body.size(),
                      small ? "Content-Encoding: gzip\r\n" : "", page.status == 405 ? "Allow: GET, HEAD\r\n" : "");
    if (with_body) {
        (void)::mg_write(to, body.data(), body.size()); // a reader that went away needs no answer
    }
}

} // namespace

class HttpPages::Impl {
public:
    explicit Impl(std::map<std::string, Make> pages) : pages_(std::move(pages)) {}
    ~Impl() {
        if (context != nullptr) {
            ::mg_stop(context);
        }
    }
    Impl(const Impl&) = delete;
    Impl& operator=(const Impl&) = delete;

    static int begin_request(mg_connection* connection) {
        const auto* request = ::mg_get_request_info(connection);
        const auto& self = *static_cast<const Impl*>(request->user_data);
        const std::string_view method = request->request_method;
        const bool head = method == "HEAD";
        const char* accepted = ::mg_get_header(connection, "Accept-Encoding");
        const bool gzip = accepted != nullptr && std::strstr(accepted, "gzip") != nullptr;
        const auto found = self.pages_.find(request->local_uri == nullptr ? "" : request->local_uri); // "OPTIONS *"
        if (!head && method != "GET") {
            answer(connection, {.status = 405, .body = "only GET and HEAD are answered\n"}, true, false);
        } else if (found == self.pages_.end()) {
            HttpPage missing{.status = 404, .body = "no such page; there are:\n"};
            for (const auto& [path, make] : self.pages_) {
                missing.body += path + "\n";
            }
            answer(connection, missing, !head, false);
        } else {
            answer(connection, found->second(), !head, gzip);
        }
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
    std::map<std::string, Make> pages_;
};

HttpPages::HttpPages(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
HttpPages::HttpPages(HttpPages&&) noexcept = default;
HttpPages& HttpPages::operator=(HttpPages&&) noexcept = default;
HttpPages::~HttpPages() = default;

Result<HttpPages> HttpPages::start(const std::string& address, std::map<std::string, Make> pages) {
    auto impl = std::make_unique<Impl>(std::move(pages));
    mg_callbacks callbacks{};
    callbacks.begin_request = &Impl::begin_request;
    callbacks.log_message = &Impl::log_message;
    const std::array<const char*, 9> options{
        "listening_ports", address.c_str(),     "num_threads", "2",    "request_timeout_ms",
        "10000",           "enable_keep_alive", "no",          nullptr};
    impl->context = ::mg_start(&callbacks, impl.get(), const_cast<const char**>(options.data()));
    if (impl->context == nullptr) {
        return failure(EADDRINUSE, "cannot serve pages on {}{}{}; give another address, or none to turn them off",
                       address, impl->trouble.empty() ? "" : ": ", impl->trouble);
    }
    return HttpPages(std::move(impl));
}

int HttpPages::port() const {
    mg_server_port port{};
    return ::mg_get_server_ports(impl_->context, 1, &port) > 0 ? port.port : 0;
}

} // namespace weft::telemetry
