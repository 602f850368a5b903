// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// The control loop of the chain test.
#include "tests/net/cni/node_agent.hpp"

#include <chrono>
#include <stdexcept>
#include <utility>

#include "tests/net/cni/pod_netns.hpp"

namespace weft::test {

using namespace std::chrono_literals;

NodeAgent::NodeAgent(const std::string& folder) {
    auto registry = enrol::EndpointRegistry::open(folder + "/endpoints", cookie_of_netns);
    if (!registry) {
        throw std::runtime_error(registry.error().message());
    }
    registry_.emplace(*std::move(registry));
    enrol::ControlHooks hooks;
    hooks.publish = [this](const store::LocalEndpoint& endpoint) {
        const std::lock_guard lock(mutex_);
        store_.insert_or_assign(endpoint.container_id, endpoint);
    };
    hooks.withdraw = [this](const std::string& id) {
        const std::lock_guard lock(mutex_);
        store_.erase(id);
    };
    hooks.pod_known = [](const std::string&, const std::string& name) { return name != "unknown"; };
    hooks.when_applied = [this](const store::LocalEndpoint&, std::function<void(Result<>)> done) {
        {
            const std::lock_guard lock(mutex_);
            if (held_) {
                waiting_.push_back(std::move(done));
                changed_.notify_all();
                return;
            }
        }
        done({});
    };
    hooks.ready = [] { return Result<>{}; };
    const auto own = cookie_of_netns("/proc/thread-self/ns/net");
    enrolment_.emplace(*registry_, hooks,
                       enrol::EnrolmentOptions{.pod_wait = 300ms, .applied_wait = 30s, .host_cookie = own.value()});
    enrolment_->restore();
    handler_.emplace(*enrolment_, [this](std::function<void()> work) { post(std::move(work)); });
    control_ = std::thread([this] { run(); });
    auto server = enrol::EnrolServer::start({.path = folder + "/enrol.sock"}, *handler_);
    if (server) {
        server_ = *std::move(server);
    }
}

NodeAgent::~NodeAgent() {
    server_.reset();
    {
        const std::lock_guard lock(mutex_);
        stopping_ = true;
    }
    changed_.notify_all();
    control_.join();
}

void NodeAgent::run() {
    std::unique_lock lock(mutex_);
    while (!stopping_) {
        changed_.wait_for(lock, 20ms, [&] { return stopping_ || !posted_.empty(); });
        const auto work = std::exchange(posted_, {});
        lock.unlock();
        for (const auto& item : work) {
            item();
        }
        enrolment_->tick();
        lock.lock();
    }
}

void NodeAgent::post(std::function<void()> work) {
    const std::lock_guard lock(mutex_);
    posted_.push_back(std::move(work));
    changed_.notify_all();
}

std::map<std::string, store::LocalEndpoint> NodeAgent::published() {
    const std::lock_guard lock(mutex_);
    return store_;
}

void NodeAgent::hold_maps(bool held) {
    std::vector<std::function<void(Result<>)>> ready;
    {
        const std::lock_guard lock(mutex_);
        held_ = held;
        if (!held) {
            ready = std::exchange(waiting_, {});
        }
    }
    for (auto& done : ready) {
        post([done = std::move(done)] { done({}); });
    }
}

bool NodeAgent::wait_for_held_add() {
    std::unique_lock lock(mutex_);
    return changed_.wait_for(lock, 20s, [&] { return !waiting_.empty(); });
}

} // namespace weft::test
