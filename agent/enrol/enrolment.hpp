// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// What happens between a CNI request and its answer? Checks the request, waits for the Pod object, publishes the
// endpoint, waits until its maps are in place, and undoes everything when one step fails.
// Thread: control, for every method and every callback. Never blocks: waiting is done by tick().
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "agent/enrol/registry.hpp"
#include "agent/enrol/server.hpp"

namespace weft::enrol {

/// The control loop, as enrolment sees it.
struct ControlHooks {
    /// Adds the endpoint to the store (or replaces the one with the same container id).
    std::function<void(const store::LocalEndpoint&)> publish;
    /// Takes the endpoint out of the store.
    std::function<void(const std::string& container_id)> withdraw;
    /// Is there a Pod object of this name?
    std::function<bool(const std::string& namespace_name, const std::string& pod_name)> pod_known;
    /// Calls `done` once, when the maps hold everything published so far for this endpoint, or why they cannot.
    /// It may do so at once or later, and also after the endpoint was withdrawn.
    std::function<void(const store::LocalEndpoint&, std::function<void(Result<>)> done)> when_applied;
    /// Can an ADD succeed now? The error says what is missing.
    std::function<Result<>()> ready;
    std::function<std::chrono::steady_clock::time_point()> now = [] { return std::chrono::steady_clock::now(); };
};

struct EnrolmentOptions {
    std::chrono::milliseconds pod_wait{5000};    ///< for the Pod object to be seen
    std::chrono::milliseconds applied_wait{3000}; ///< for the maps to be written
    std::chrono::milliseconds sweep_every{10000}; ///< between searches for vanished namespaces
    std::uint64_t host_cookie = 0; ///< the node's own namespace, which is never a pod's; 0: not known
};

class Enrolment {
public:
    /// `registry` must outlive this object; the hooks are called only from within its methods.
    Enrolment(EndpointRegistry& registry, ControlHooks hooks, EnrolmentOptions options = {});

    /// Reads the registry and publishes what still lives. Call once, before the first handle().
    EndpointRegistry::LoadReport restore();

    /// One request; `reply` is called exactly once, now or later (unless this object is destroyed before).
    void handle(const Request& request, Reply reply);
    /// Pod objects were added or removed: waiting ADDs look again.
    void pods_changed();
    /// Lets time pass: deadlines and the sweep. Returns the endpoints that the sweep withdrew, for the log.
    std::vector<EndpointRecord> tick();
    /// When tick() has something to do at the latest.
    [[nodiscard]] std::chrono::steady_clock::time_point next_tick() const;
    /// ADDs without an answer yet.
    [[nodiscard]] std::size_t pending() const { return pending_.size(); }

private:
    using TimePoint = std::chrono::steady_clock::time_point;
    struct Pending {
        std::uint64_t sequence = 0; ///< tells a late when_applied of an earlier ADD apart
        EndpointRecord record;
        std::vector<EndpointRecord> replaced; ///< what was withdrawn for it; comes back on failure if it lives
        Reply reply;
        TimePoint deadline;
        bool published = false;
    };

    void add(const Add& request, Reply reply);
    void del(const Del& request, const Reply& reply);
    void check(const Check& request, const Reply& reply) const;
    void gc(const Gc& request, const Reply& reply);

    /// The request as a record, or what is wrong with it.
    Result<EndpointRecord> parse(const Add& request) const;
    /// Records that must go for `record` to be published, or why they may not.
    Result<std::vector<EndpointRecord>> displaced_by(const EndpointRecord& record) const;
    /// Second half of add(): the Pod is known.
    void publish(const std::string& container_id);
    void applied(const std::string& container_id, std::uint64_t sequence, const Result<>& outcome);
    /// Ends a pending ADD without success.
    void abandon(const std::string& container_id, Response::Code code, const std::string& message);
    /// Withdraws and forgets; the error is only about the record's file.
    Result<> forget(const std::string& container_id);

    EndpointRegistry& registry_;
    ControlHooks hooks_;
    EnrolmentOptions options_;
    std::map<std::string, Pending> pending_; ///< by container id
    std::uint64_t sequence_ = 0;
    TimePoint next_sweep_;
    std::shared_ptr<const bool> alive_; ///< callbacks hold it weakly: they may outlive this object
};

/// Carries requests from the server's thread to the control thread.
class PostingHandler final : public EnrolHandler {
public:
    /// Runs a function on the control thread; callable from any thread.
    using Post = std::function<void(std::function<void()>)>;
    /// `enrolment` is used on the control thread only, and must live as long as posted functions are run.
    PostingHandler(Enrolment& enrolment, Post post) : enrolment_(enrolment), post_(std::move(post)) {}
    void handle(Request request, Reply reply) override;

private:
    Enrolment& enrolment_;
    Post post_;
};

} // namespace weft::enrol
