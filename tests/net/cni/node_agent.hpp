// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// The agent as far as CNI goes: the real socket server, the real enrolment and its records, and a small control loop
// whose store is a map that the test can look into.
#pragma once

#include <condition_variable>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "agent/enrol/enrolment.hpp"

namespace weft::test {

class NodeAgent {
public:
    /// Records are kept in `folder`; the socket is `folder`/enrol.sock.
    explicit NodeAgent(const std::string& folder);
    ~NodeAgent();
    NodeAgent(const NodeAgent&) = delete;
    NodeAgent& operator=(const NodeAgent&) = delete;

    /// The published endpoints, by container id.
    std::map<std::string, store::LocalEndpoint> published();
    /// While held, maps are never "in place"; letting go completes what waits.
    void hold_maps(bool held);
    /// Waits until an ADD waits for its maps. False after 20 s.
    bool wait_for_held_add();

private:
    void run();
    void post(std::function<void()> work);

    std::mutex mutex_; // control loop, server thread and test; held for moments only
    std::condition_variable changed_;
    std::vector<std::function<void()>> posted_;
    std::map<std::string, store::LocalEndpoint> store_;
    std::vector<std::function<void(Result<>)>> waiting_; ///< when_applied callbacks while held
    bool held_ = false;
    bool stopping_ = false;
    std::optional<enrol::EndpointRegistry> registry_;
    std::optional<enrol::Enrolment> enrolment_;
    std::optional<enrol::PostingHandler> handler_;
    std::thread control_;
    std::unique_ptr<enrol::EnrolServer> server_;
};

} // namespace weft::test
