// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// Who may see the map in a browser? Serves the page's files to anybody who reaches the address, and data only to who
// sends the key that this run made. Only GET; a foreign Host name is refused, so that a name which leads here (DNS
// rebinding) opens nothing; nothing that can be asked changes anything.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "weft/base/result.hpp"

namespace weft::ui {

struct WebOptions {
    std::string listen = "127.0.0.1:4680"; ///< "[::1]:0": any free port
    std::vector<std::string> hosts;        ///< names in the Host header that are fine, beside those of loopback
    std::string key;                       ///< what the header X-Weft-Key must hold for data
};

/// Answers of /api/graph and /api/edge as JSON text. Thread: the listener's.
struct WebData {
    std::function<std::string()> graph;
    std::function<std::optional<std::string>(const std::string& id)> edge; ///< nothing: no such edge
};

class WebServer {
public:
    /// Errors: EINVAL the address cannot be understood, or leads to other machines and `hosts` is empty;
    /// EADDRINUSE it cannot be listened on.
    static Result<WebServer> start(WebOptions options, WebData data);
    WebServer(WebServer&&) noexcept;
    WebServer& operator=(WebServer&&) noexcept;
    /// Waits for requests that are being answered.
    ~WebServer();

    /// Port that is listened on.
    [[nodiscard]] int port() const;

private:
    class Impl;
    explicit WebServer(std::unique_ptr<Impl> impl);
    std::unique_ptr<Impl> impl_;
};

/// 32 hex digits that nobody can guess. Error: the kernel gives no random bytes.
Result<std::string> make_key();

} // namespace weft::ui
