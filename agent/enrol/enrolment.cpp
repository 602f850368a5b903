// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// The life of one enrolment: asked, Pod seen, published, applied, answered; or undone.
#include "agent/enrol/enrolment.hpp"

#include <algorithm>
#include <set>
#include <utility>

namespace weft::enrol {
namespace {

void respond(const Reply& reply, Response::Code code, std::string message) {
    Response response;
    response.set_code(code);
    response.set_message(std::move(message));
    reply(std::move(response));
}

void respond_ok(const Reply& reply) {
    reply(Response());
}

std::string pod_of(const EndpointRecord& record) {
    return record.endpoint.namespace_name + "/" + record.endpoint.pod_name;
}

} // namespace

Enrolment::Enrolment(EndpointRegistry& registry, ControlHooks hooks, EnrolmentOptions options)
    : registry_(registry), hooks_(std::move(hooks)), options_(options),
      next_sweep_(hooks_.now() + options_.sweep_every), alive_(std::make_shared<const bool>(true)) {}

EndpointRegistry::LoadReport Enrolment::restore() {
    auto report = registry_.load();
    for (const auto& [id, record] : registry_.records()) {
        hooks_.publish(record.endpoint);
    }
    return report;
}

void Enrolment::handle(const Request& request, Reply reply) {
    switch (request.verb_case()) {
    case Request::kAdd:
        add(request.add(), std::move(reply));
        return;
    case Request::kDel:
        del(request.del(), reply);
        return;
    case Request::kCheck:
        check(request.check(), reply);
        return;
    case Request::kGc:
        gc(request.gc(), reply);
        return;
    case Request::kStatus:
        if (const auto ready = hooks_.ready(); !ready) {
            respond(reply, Response::UNAVAILABLE, ready.error().message());
        } else {
            respond_ok(reply);
        }
        return;
    case Request::VERB_NOT_SET:
        break;
    }
    respond(reply, Response::UNSUPPORTED,
            "verb: this weftd does not know it; install the same version of weft-cni and weftd");
}

Result<EndpointRecord> Enrolment::parse(const Add& request) const {
    EndpointRecord record;
    store::LocalEndpoint& endpoint = record.endpoint;
    WEFT_TRY(check_container_id(request.container_id()));
    if (request.ifname().empty()) {
        return invalid("ifname: empty");
    }
    if (request.pod_namespace().empty()) {
        return invalid("pod_namespace: empty; the runtime must pass K8S_POD_NAMESPACE in CNI_ARGS");
    }
    if (request.pod_name().empty()) {
        return invalid("pod_name: empty; the runtime must pass K8S_POD_NAME in CNI_ARGS");
    }
    if (request.ips().empty()) {
        return invalid("ips: none; chain weft-cni after the plugin that gives addresses");
    }
    if (!request.netns().starts_with('/')) {
        return invalid("netns: \"{}\" is no absolute path", request.netns());
    }
    for (const std::string& text : request.ips()) {
        auto ip = Ip::parse(text);
        if (!ip) {
            return std::unexpected(ip.error().within("ips"));
        }
        if (ip->is_loopback() || ip->is_unspecified()) {
            return invalid("ips: {} cannot be a pod's address", text);
        }
        if (std::ranges::find(endpoint.ips, *ip) == endpoint.ips.end()) {
            endpoint.ips.push_back(*ip);
        }
    }
    auto cookie = registry_.cookie(request.netns());
    if (!cookie) {
        return std::unexpected(cookie.error().within("netns"));
    }
    if (*cookie == options_.host_cookie) {
        return invalid("netns: {} is the node's own namespace, not a pod's", request.netns());
    }
    endpoint.namespace_name = request.pod_namespace();
    endpoint.pod_name = request.pod_name();
    endpoint.pod_uid = request.pod_uid();
    endpoint.container_id = request.container_id();
    endpoint.netns_path = request.netns();
    endpoint.netns_cookie = *cookie;
    record.ifname = request.ifname();
    record.network = request.network();
    return record;
}

Result<std::vector<EndpointRecord>> Enrolment::displaced_by(const EndpointRecord& record) const {
    std::vector<EndpointRecord> displaced;
    for (const auto& [id, other] : registry_.records()) {
        if (id == record.endpoint.container_id) {
            if (other.ifname != record.ifname) {
                return invalid("ifname: container {} is enrolled through {} already; chain weft-cni in the pod's first "
                               "network only",
                               id, other.ifname);
            }
            displaced.push_back(other); // the runtime repeats an ADD
            continue;
        }
        if (pod_of(other) == pod_of(record)) {
            displaced.push_back(other); // a new sandbox of the same pod
            continue;
        }
        const auto shared = std::ranges::find_first_of(other.endpoint.ips, record.endpoint.ips);
        const bool same_namespace = other.endpoint.netns_cookie == record.endpoint.netns_cookie;
        if (shared == other.endpoint.ips.end() && !same_namespace) {
            continue;
        }
        if (registry_.alive(other)) {
            return same_namespace
                       ? invalid("netns: {} belongs to pod {} already", record.endpoint.netns_path, pod_of(other))
                       : invalid("ips: {} belongs to pod {} already; DEL that pod, or mend the address plugin",
                                 shared->to_string(), pod_of(other));
        }
        displaced.push_back(other); // its DEL was missed
    }
    return displaced;
}

void Enrolment::add(const Add& request, Reply reply) {
    auto record = parse(request);
    if (!record) {
        respond(reply, Response::INVALID, record.error().message());
        return;
    }
    if (const auto ready = hooks_.ready(); !ready) {
        respond(reply, Response::UNAVAILABLE, ready.error().message());
        return;
    }
    // An unanswered ADD of this container, or of an older sandbox of this pod, has lost its caller's interest.
    std::vector<std::string> outdated;
    for (const auto& [id, pending] : pending_) {
        if (id == record->endpoint.container_id || pod_of(pending.record) == pod_of(*record)) {
            outdated.push_back(id);
        }
    }
    for (const std::string& id : outdated) {
        abandon(id, Response::UNAVAILABLE, "a later ADD of the same pod took its place");
    }
    const std::string id = record->endpoint.container_id;
    const bool known = hooks_.pod_known(record->endpoint.namespace_name, record->endpoint.pod_name);
    Pending& pending = pending_[id];
    pending.sequence = ++sequence_;
    pending.record = *std::move(record);
    pending.reply = std::move(reply);
    pending.deadline = hooks_.now() + options_.pod_wait;
    if (known) {
        publish(id);
    }
}

void Enrolment::publish(const std::string& container_id) {
    Pending& pending = pending_.at(container_id);
    auto displaced = displaced_by(pending.record);
    if (!displaced) {
        abandon(container_id, Response::INVALID, displaced.error().message());
        return;
    }
    // Written down first: an agent that dies after publishing must find the pod again.
    if (const auto written = registry_.put(pending.record); !written) {
        abandon(container_id, Response::INTERNAL, written.error().message());
        return;
    }
    pending.replaced = *std::move(displaced);
    for (const EndpointRecord& old : pending.replaced) {
        hooks_.withdraw(old.endpoint.container_id);
        if (old.endpoint.container_id != container_id) {
            (void)registry_.erase(
                old.endpoint.container_id); // a file that stays is dropped by the next load: its namespace is going
        }
    }
    pending.published = true;
    pending.deadline = hooks_.now() + options_.applied_wait;
    const std::uint64_t sequence = pending.sequence;
    const store::LocalEndpoint endpoint = pending.record.endpoint; // a callback that comes at once ends `pending`
    hooks_.publish(endpoint);
    hooks_.when_applied(endpoint,
                        [this, alive = std::weak_ptr(alive_), container_id, sequence](const Result<>& outcome) {
                            if (!alive.expired()) {
                                applied(container_id, sequence, outcome);
                            }
                        });
}

void Enrolment::applied(const std::string& container_id, std::uint64_t sequence, const Result<>& outcome) {
    const auto at = pending_.find(container_id);
    if (at == pending_.end() || at->second.sequence != sequence) {
        return; // answered by its deadline, deleted, or replaced
    }
    if (!outcome) {
        abandon(container_id, Response::INTERNAL, outcome.error().message());
        return;
    }
    const Reply reply = std::move(at->second.reply);
    pending_.erase(at);
    respond_ok(reply);
}

void Enrolment::abandon(const std::string& container_id, Response::Code code, const std::string& message) {
    Pending pending = std::move(pending_.at(container_id));
    pending_.erase(container_id);
    if (pending.published) {
        hooks_.withdraw(container_id);
        (void)registry_.erase(container_id); // a file that stays is dropped by the next load, with its namespace
        for (EndpointRecord& old : pending.replaced) {
            if (!registry_.alive(old)) {
                continue;
            }
            const store::LocalEndpoint endpoint = old.endpoint;
            (void)registry_.put(std::move(old)); // still published below: governed now, only not after a restart
            hooks_.publish(endpoint);
        }
    }
    respond(pending.reply, code, message);
}

Result<> Enrolment::forget(const std::string& container_id) {
    if (registry_.find(container_id) == nullptr) {
        return {};
    }
    hooks_.withdraw(container_id);
    return registry_.erase(container_id);
}

void Enrolment::del(const Del& request, const Reply& reply) {
    const std::string& id = request.container_id();
    if (const auto at = pending_.find(id); at != pending_.end() && at->second.record.ifname == request.ifname()) {
        at->second.replaced.clear(); // what it replaced does not come back when the pod itself goes
        abandon(id, Response::UNAVAILABLE, "the pod was deleted while it was being added");
    }
    const EndpointRecord* record = registry_.find(id);
    if (record != nullptr && record->ifname == request.ifname()) {
        if (const auto gone = forget(id); !gone) {
            respond(reply, Response::INTERNAL, gone.error().message());
            return;
        }
    }
    respond_ok(reply);
}

void Enrolment::check(const Check& request, const Reply& reply) const {
    const EndpointRecord* record = registry_.find(request.container_id());
    if (record == nullptr || record->ifname != request.ifname()) {
        respond(reply, Response::NOT_FOUND,
                fmt::format("container {} is not enrolled on {}; delete the pod so that it is made anew",
                            request.container_id(), request.ifname()));
        return;
    }
    if (pending_.contains(request.container_id())) {
        respond(reply, Response::UNAVAILABLE, "its ADD is not finished");
        return;
    }
    if (!registry_.alive(*record)) {
        respond(reply, Response::NOT_FOUND,
                fmt::format("network namespace {} of container {} is gone or another one", record->endpoint.netns_path,
                            request.container_id()));
        return;
    }
    std::set<Ip> asked;
    for (const std::string& text : request.ips()) {
        const auto ip = Ip::parse(text);
        if (!ip) {
            respond(reply, Response::INVALID, ip.error().within("ips").message());
            return;
        }
        asked.insert(*ip);
    }
    if (asked != std::set<Ip>(record->endpoint.ips.begin(), record->endpoint.ips.end())) {
        std::string enrolled;
        for (const Ip& ip : record->endpoint.ips) {
            enrolled += (enrolled.empty() ? "" : ", ") + ip.to_string();
        }
        respond(reply, Response::INVALID,
                fmt::format("ips: container {} is enrolled with {}; delete the pod so that it is made anew",
                            request.container_id(), enrolled));
        return;
    }
    respond_ok(reply);
}

void Enrolment::gc(const Gc& request, const Reply& reply) {
    std::set<std::pair<std::string, std::string>> valid;
    for (const auto& attachment : request.valid()) {
        valid.emplace(attachment.container_id(), attachment.ifname());
    }
    std::vector<std::string> stale;
    for (const auto& [id, record] : registry_.records()) {
        if (record.network == request.network() && !valid.contains({id, record.ifname})) {
            stale.push_back(id);
        }
    }
    std::string failures;
    for (const std::string& id : stale) {
        if (pending_.contains(id)) {
            pending_.at(id).replaced.clear();
            abandon(id, Response::UNAVAILABLE, "garbage collection does not list this container");
        }
        if (const auto gone = forget(id); !gone) {
            failures += (failures.empty() ? "" : "; ") + gone.error().message();
        }
    }
    if (failures.empty()) {
        respond_ok(reply);
    } else {
        respond(reply, Response::INTERNAL, std::move(failures));
    }
}

void Enrolment::pods_changed() {
    std::vector<std::string> ready;
    for (const auto& [id, pending] : pending_) {
        const store::LocalEndpoint& endpoint = pending.record.endpoint;
        if (!pending.published && hooks_.pod_known(endpoint.namespace_name, endpoint.pod_name)) {
            ready.push_back(id);
        }
    }
    for (const std::string& id : ready) {
        publish(id);
    }
}

std::vector<EndpointRecord> Enrolment::tick() {
    const TimePoint now = hooks_.now();
    std::vector<std::string> late;
    for (const auto& [id, pending] : pending_) {
        if (pending.deadline <= now) {
            late.push_back(id);
        }
    }
    for (const std::string& id : late) {
        const Pending& pending = pending_.at(id);
        abandon(
            id, Response::UNAVAILABLE,
            pending.published
                ? fmt::format("the maps of pod {} were not written in {} ms; see weft status", pod_of(pending.record),
                              options_.applied_wait.count())
                : fmt::format("the agent has not seen the object of pod {} in {} ms; see weft status for its source",
                              pod_of(pending.record), options_.pod_wait.count()));
    }
    std::vector<EndpointRecord> swept;
    if (next_sweep_ <= now) {
        next_sweep_ = now + options_.sweep_every;
        for (const std::string& id : registry_.sweep()) {
            if (!pending_.contains(id)) {
                swept.push_back(*registry_.find(id));
                (void)forget(id); // a file that stays is dropped by the next load: its namespace is gone
            }
        }
    }
    return swept;
}

std::chrono::steady_clock::time_point Enrolment::next_tick() const {
    TimePoint first = next_sweep_;
    for (const auto& [id, pending] : pending_) {
        first = std::min(first, pending.deadline);
    }
    return first;
}

void PostingHandler::handle(Request request, Reply reply) {
    post_([&enrolment = enrolment_, request = std::move(request), reply = std::move(reply)] {
        enrolment.handle(request, reply);
    });
}

} // namespace weft::enrol
