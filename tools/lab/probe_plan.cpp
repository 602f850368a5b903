// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// Looks names and addresses up in the lab's status.
#include "tools/lab/probe_plan.hpp"

#include <netinet/in.h>

#include <algorithm>

namespace weft::lab {
namespace {

struct Target {
    std::vector<Ip> ips;                               ///< to choose from
    std::vector<std::pair<Place, std::string>> places; ///< who may answer
    std::map<Place, std::uint16_t> ports;              ///< where that is not the probed port
};

bool contains(const std::vector<Ip>& list, const Ip& ip) {
    return std::ranges::find(list, ip) != list.end();
}

class Planner {
public:
    Planner(const Json& status, const MakeOutside& make_outside) : status_(status), make_outside_(make_outside) {}

    void add(ProbePlan& plan, std::size_t index, const probe::Probe& probe) {
        auto added = try_add(plan, index, probe);
        if (!added) {
            plan.errors[index] = added.error().message();
        }
    }

private:
    Result<> try_add(ProbePlan& plan, std::size_t index, const probe::Probe& probe) {
        std::vector<Ip> own;
        WEFT_ASSIGN(const auto source, source_of(probe.from, own));
        WEFT_ASSIGN(auto target, target_of(probe));
        // IPv4 when both have it, else IPv6.
        std::optional<Ip> chosen;
        for (const auto& ip : target.ips) {
            const bool reachable = std::ranges::any_of(own, [&](const Ip& mine) { return mine.is_v4() == ip.is_v4(); });
            if (reachable && (!chosen || (ip.is_v4() && !chosen->is_v4()))) {
                chosen = ip;
            }
        }
        if (!chosen) {
            return failure(EADDRNOTAVAIL, "{} and {} have no address family in common", to_string(probe.from),
                           to_string(probe.to));
        }
        if (probe.protocol == IPPROTO_SCTP && std::holds_alternative<probe::ServiceEnd>(probe.to)) {
            return failure(EPROTONOSUPPORT,
                           "the lab speaks SCTP with raw packets, which no Service balances: probe the pods");
        }
        for (const auto& [place, name] : target.places) {
            const auto other = target.ports.find(place);
            const ListenPort port{probe.protocol, other != target.ports.end() ? other->second : probe.port};
            auto& answerer = plan.answerers[place];
            answerer.name = name;
            answerer.ports.insert(port);
            plan.behind[index].insert({place, port});
        }
        plan.dials[source].push_back({.index = index, .ip = *chosen, .port = probe.port, .protocol = probe.protocol});
        return {};
    }

    static std::vector<Ip> addresses(const Json& list) {
        std::vector<Ip> ips;
        for (const auto& text : list) {
            if (auto ip = Ip::parse(text.get<std::string>())) {
                ips.push_back(*ip);
            }
        }
        return ips;
    }

    static Place place_of(const Json& pod) {
        return {pod["netns"].get<std::string>(), pod["cgroup"].get<std::string>()};
    }
    static std::string name_of(const Json& object) {
        return object["namespace"].get<std::string>() + "/" + object["name"].get<std::string>();
    }

    Result<const Json*> pod(const std::string& space, const std::string& name) const {
        for (const auto& known : status_["pods"]) {
            if (known["namespace"] == space && known["name"] == name) {
                if (known["ips"].empty()) {
                    return failure(EAGAIN, "pod {}/{} has no address yet", space, name);
                }
                return &known;
            }
        }
        return failure(ENOENT, "no such pod: {}/{}", space, name);
    }

    /// The pod, node or Service with this address.
    const Json* holder(const char* list, const std::vector<const char*>& keys, const Ip& ip) const {
        for (const auto& known : status_[list]) {
            for (const char* key : keys) {
                if (contains(addresses(known[key]), ip)) {
                    return &known;
                }
            }
        }
        return nullptr;
    }

    Result<Place> source_of(const probe::End& end, std::vector<Ip>& own) const {
        if (const auto* named = std::get_if<probe::PodEnd>(&end)) {
            WEFT_ASSIGN(const auto* found, pod(named->namespace_name, named->pod));
            own = addresses((*found)["ips"]);
            return place_of(*found);
        }
        const auto* address = std::get_if<probe::AddressEnd>(&end);
        if (address == nullptr) {
            return invalid("a Service cannot be where a probe comes from");
        }
        own = {address->ip};
        if (const auto* found = pod_with(address->ip)) {
            return place_of(*found);
        }
        if (const auto* node = holder("nodes", {"addresses"}, address->ip)) {
            return place_of(*node);
        }
        return make_outside_(address->ip);
    }

    const Json* pod_with(const Ip& ip) const {
        for (const auto& known : status_["pods"]) {
            if (!known["hostNetwork"].get<bool>() && contains(addresses(known["ips"]), ip)) {
                return &known;
            }
        }
        return nullptr;
    }

    Result<Target> target_of(const probe::Probe& probe) const {
        if (const auto* named = std::get_if<probe::PodEnd>(&probe.to)) {
            WEFT_ASSIGN(const auto* found, pod(named->namespace_name, named->pod));
            return Target{addresses((*found)["ips"]), {{place_of(*found), name_of(*found)}}, {}};
        }
        if (const auto* named = std::get_if<probe::ServiceEnd>(&probe.to)) {
            for (const auto& known : status_["services"]) {
                if (known["namespace"] == named->namespace_name && known["name"] == named->service) {
                    return service_target(known, probe, {});
                }
            }
            return failure(ENOENT, "no such Service: {}/{}", named->namespace_name, named->service);
        }
        const auto& ip = std::get<probe::AddressEnd>(probe.to).ip;
        if (const auto* found = pod_with(ip)) {
            return Target{{ip}, {{place_of(*found), name_of(*found)}}, {}};
        }
        if (const auto* node = holder("nodes", {"addresses"}, ip)) {
            return Target{{ip}, {{place_of(*node), "node/" + (*node)["name"].get<std::string>()}}, {}};
        }
        if (const auto* service = holder("services", {"clusterIPs", "loadBalancerIPs", "externalIPs"}, ip)) {
            return service_target(*service, probe, {ip});
        }
        WEFT_ASSIGN(const auto outside, make_outside_(ip));
        return Target{{ip}, {{outside, "ip:" + ip.to_string()}}, {}};
    }

    /// `ips`: the address that was asked for; empty: the Service's own, or a headless one's first ready pod.
    Result<Target> service_target(const Json& service, const probe::Probe& probe, std::vector<Ip> ips) const {
        Target target{std::move(ips), {}, {}};
        const bool headless = service["headless"].get<bool>();
        if (target.ips.empty()) {
            target.ips = addresses(service["clusterIPs"]);
        }
        const auto protocol = protocol_name(probe.protocol);
        for (const auto& port : service["ports"]) {
            if (port["port"] == probe.port && port["protocol"] == protocol) {
                add_backends(service, port, headless, target);
            }
        }
        if (target.ips.empty()) {
            return failure(EADDRNOTAVAIL, "Service {} has no address to dial", name_of(service));
        }
        return target;
    }

    void add_backends(const Json& service, const Json& port, bool headless, Target& target) const {
        for (const auto& slice : service["slices"]) {
            for (const auto& target_port : slice["ports"]) {
                if (target_port["name"] != port["name"] || target_port["protocol"] != port["protocol"]) {
                    continue;
                }
                for (const auto& backend : slice["backends"]) {
                    const auto found = pod(service["namespace"].get<std::string>(), backend["pod"].get<std::string>());
                    if (!found) {
                        continue; // gone since the slice was made
                    }
                    const auto place = place_of(**found);
                    target.places.emplace_back(place, name_of(**found));
                    if (!headless) { // a headless Service's port is not translated
                        target.ports[place] = target_port["port"].get<std::uint16_t>();
                    } else if (target.ips.empty() && backend["ready"].get<bool>()) {
                        target.ips = addresses(backend["ips"]);
                    }
                }
            }
        }
    }

    const Json& status_;
    const MakeOutside& make_outside_;
};

} // namespace

ProbePlan plan_probes(const Json& status, const std::vector<probe::Probe>& probes, const MakeOutside& make_outside) {
    ProbePlan plan;
    Planner planner(status, make_outside);
    for (std::size_t i = 0; i < probes.size(); ++i) {
        planner.add(plan, i, probes[i]);
    }
    return plan;
}

} // namespace weft::lab
