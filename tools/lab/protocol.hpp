// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// Between `weft lab` commands and a lab's supervisor: one JSON line asks, one JSON line answers, over a unix socket
// that only root and the user who started the lab may use.
#pragma once

#include <functional>
#include <map>
#include <string>

#include <nlohmann/json.hpp>

#include "tools/lab/loop.hpp"
#include "tools/lab/names.hpp"

namespace weft::lab {

using Json = nlohmann::ordered_json;

/// Asks the lab's supervisor. Error: ENOENT when no such lab runs (with remedy), EACCES, or the supervisor's own
/// refusal.
Result<Json> ask(const Names& names, const Json& request);

/// True when a supervisor answers on the lab's socket.
bool supervisor_alive(const Names& names);

/// The supervisor's end. Thread: loop.
class CommandServer {
public:
    using Answer = std::function<void(Result<Json>)>;
    /// `handle` may answer at once or later, exactly once.
    using Handle = std::function<void(const Json& request, Answer answer)>;

    /// Error: when the socket cannot be made.
    static Result<std::unique_ptr<CommandServer>> listen(Loop& loop, const std::string& path, Handle handle);
    ~CommandServer();

private:
    struct Client {
        UniqueFd fd;
        std::string received;
    };
    CommandServer(Loop& loop, UniqueFd socket, Handle handle);
    void accept_one();
    void receive(int fd);
    void reply(int fd, const std::shared_ptr<Client>& client, const Result<Json>& answer);

    Loop& loop_;
    UniqueFd socket_;
    Handle handle_;
    std::map<int, std::shared_ptr<Client>> clients_;
};

} // namespace weft::lab
