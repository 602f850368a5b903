// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
#include "agent/compiler/transit.hpp"

#include <algorithm>

#include "agent/compiler/mesh.hpp"

namespace weft::compiler {
namespace {

bool published(const k8s::Pod& pod) {
    const auto found = pod.meta.annotations.find(kEnrolledAnnotation);
    return found != pod.meta.annotations.end() && found->second == "true";
}

} // namespace

void Transit::see_entering(const store::Snapshot& snapshot, Clock::time_point now) {
    std::set<store::Name> outside;
    Until entering;
    for (const auto& [container, endpoint] : *snapshot.endpoints) {
        store::Name name{endpoint.namespace_name, endpoint.pod_name};
        const auto pod = snapshot.pods->find(name);
        if (pod == snapshot.pods->end()) {
            continue;
        }
        if (mesh_standing(snapshot, *pod->second, {}, nullptr).mode == k8s::TlsMode::kOff) {
            outside.insert(std::move(name));
        } else if (outside_.contains(name)) {
            entering[std::move(name)] = now + kEntering;
        } else if (const auto known = entering_.find(name); known != entering_.end() && known->second > now) {
            entering.insert(*known);
        }
    }
    outside_ = std::move(outside);
    entering_ = std::move(entering);
}

void Transit::see_leaving(const store::Snapshot& snapshot, Clock::time_point now) {
    if (last_ && snapshot.pods != last_) {
        store::Table<k8s::Pod>::for_each_change(*last_, *snapshot.pods,
                                                [&](const store::Name& name, const auto* before, const auto* after) {
                                                    if (after == nullptr || published(**after)) {
                                                        leaving_.erase(name); // gone for good, or back
                                                    } else if (before != nullptr && published(**before)) {
                                                        leaving_[name] = now + kLeaving;
                                                    }
                                                });
    }
    last_ = snapshot.pods;
    std::erase_if(leaving_, [&](const auto& one) { return one.second <= now; });
}

const InTransit& Transit::update(const store::Snapshot& snapshot, Clock::time_point now) {
    see_entering(snapshot, now);
    see_leaving(snapshot, now);
    const auto names = [](const Until& until) {
        std::set<store::Name> out;
        for (const auto& [name, end] : until) {
            out.insert(name);
        }
        return out;
    };
    in_transit_ = {names(entering_), names(leaving_)};
    return in_transit_;
}

std::optional<Transit::Clock::time_point> Transit::next() const {
    std::optional<Clock::time_point> first;
    for (const auto* until : {&entering_, &leaving_}) {
        for (const auto& [name, end] : *until) {
            first = first ? std::min(*first, end) : end;
        }
    }
    return first;
}

} // namespace weft::compiler
