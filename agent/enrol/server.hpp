// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// Who listens to weft-cni? A unix socket on a thread of its own: it accepts, reads one request per connection within
// limits, hands it over, and writes the answer whenever that comes. It decides nothing about pods.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <cstddef>
#include <functional>
#include <memory>
#include <string>
#include <thread>

#include "enrol.pb.h"
#include "weft/base/result.hpp"

namespace weft::enrol {

/// Sends one answer; may be called once, from any thread, also after the server has gone.
using Reply = std::function<void(Response)>;

/// Receives requests.
class EnrolHandler {
public:
    virtual ~EnrolHandler() = default;
    /// Thread: the server's. Must not block; `reply` may be kept and called later from another thread.
    virtual void handle(Request request, Reply reply) = 0;
};

struct ServerOptions {
    std::string path = "/run/weft/enrol.sock";
    uid_t allowed_uid = 0; ///< effective uid that a caller must have, besides root
    std::chrono::milliseconds read_timeout{5000}; ///< for the whole request to arrive, and for its answer to be taken
    std::chrono::milliseconds answer_timeout{
        60000}; ///< for the handler to answer, after which the connection is closed
    std::size_t max_connections = 64; ///< more than these wait in the listen queue
};

/// The listening socket and its thread. Destroying it stops the thread and removes the socket file if it is still its
/// own.
class EnrolServer {
public:
    /// Starts listening; the file has mode 0600. `handler` must outlive the server.
    /// Errors: EADDRINUSE when a living process listens there, EINVAL for an unusable path, or errno of the call.
    static Result<std::unique_ptr<EnrolServer>> start(ServerOptions options, EnrolHandler& handler);
    ~EnrolServer();
    EnrolServer(const EnrolServer&) = delete;
    EnrolServer& operator=(const EnrolServer&) = delete;

    [[nodiscard]] const std::string& path() const;

private:
    class Loop;
    explicit EnrolServer(std::unique_ptr<Loop> loop);

    std::unique_ptr<Loop> loop_;
    std::thread thread_;
};

} // namespace weft::enrol
