// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// An agent for tests of the plugin: the real socket server with a handler that records requests and gives the answer
// it was told; and a rogue one that sends any bytes.
#pragma once

#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "agent/enrol/server.hpp"
#include "weft/base/unique_fd.hpp"

namespace weft::cni::test {

class ScriptedAgent final : public enrol::EnrolHandler {
public:
    explicit ScriptedAgent(const std::string& path);
    void handle(enrol::Request request, enrol::Reply reply) override;
    /// Answer to everything from now on.
    void answer(enrol::Response::Code code, const std::string& message = "");
    /// Requests so far.
    std::vector<enrol::Request> requests();

private:
    std::mutex mutex_; // the server's thread against the test's
    enrol::Response response_;
    std::vector<enrol::Request> requests_;
    std::unique_ptr<enrol::EnrolServer> server_; // last: its thread ends before the rest goes
};

/// Accepts one connection, sends `bytes`, and closes it at once or, with `keep_open`, only at its own end.
class RogueAgent {
public:
    RogueAgent(const std::string& path, std::string bytes, bool keep_open);
    ~RogueAgent();
    RogueAgent(const RogueAgent&) = delete;
    RogueAgent& operator=(const RogueAgent&) = delete;

private:
    UniqueFd listener_;
    UniqueFd kept_; // written by the thread, read after its end
    std::thread thread_;
};

/// A folder of its own, removed at the end.
class Folder {
public:
    Folder();
    ~Folder();
    Folder(const Folder&) = delete;
    Folder& operator=(const Folder&) = delete;
    [[nodiscard]] std::string path(const std::string& name) const { return path_ + "/" + name; }

private:
    std::string path_;
};

} // namespace weft::cni::test
