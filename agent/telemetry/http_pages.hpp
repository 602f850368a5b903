// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// Who serves the agent's pages by HTTP? A listener with a page for each path, made anew at each request.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>

#include "weft/base/result.hpp"

namespace weft::telemetry {

/// What is answered to a GET.
struct HttpPage {
    int status = 200;
    std::string type = "text/plain; charset=utf-8";
    std::string body;
};

/// Thread: pages are made on the listener's own two threads, so one slow scrape does not delay a probe of health.
class HttpPages {
public:
    using Make = std::function<HttpPage()>;

    /// Listens on `address` ("127.0.0.1:9964", "[::]:9964", "127.0.0.1:0"). Each path of `pages` is answered exactly;
    /// another path gets 404, another method than GET or HEAD 405. Bodies go compressed to who accepts gzip.
    /// Errors: EADDRINUSE or EINVAL, naming the address.
    static Result<HttpPages> start(const std::string& address, std::map<std::string, Make> pages);

    HttpPages(HttpPages&&) noexcept;
    HttpPages& operator=(HttpPages&&) noexcept;
    /// Waits for requests that are being answered.
    ~HttpPages();

    /// Port that is listened on.
    [[nodiscard]] int port() const;

private:
    class Impl;
    explicit HttpPages(std::unique_ptr<Impl> impl);
    std::unique_ptr<Impl> impl_;
};

} // namespace weft::telemetry
