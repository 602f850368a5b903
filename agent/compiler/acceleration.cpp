// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
#include "agent/compiler/acceleration.hpp"

#include <optional>

namespace weft::compiler {
namespace {

std::optional<Acceleration> said(const k8s::Meta& meta, const k8s::ObjectKey& key,
                                 std::vector<store::Refusal>& refusals) {
    const auto found = meta.labels.find(kAccelerationLabel);
    if (found == meta.labels.end()) {
        return std::nullopt;
    }
    if (found->second == "auto") {
        return Acceleration::kAuto;
    }
    if (found->second == "on") {
        return Acceleration::kOn;
    }
    if (found->second != "off") {
        refusals.push_back({key, meta.origin, std::string("metadata.labels[") + kAccelerationLabel + "]",
                            fmt::format("'{}' is none of \"auto\", \"on\", \"off\"; off is used", found->second),
                            false});
    }
    return Acceleration::kOff;
}

} // namespace

bool accelerated(const store::Snapshot& snapshot, const k8s::Pod& pod, const NodeContext& node,
                 std::vector<store::Refusal>& refusals) {
    if (node.acceleration == Acceleration::kOff || pod.spec.host_network) {
        return false;
    }
    auto wanted = said(pod.meta, k8s::key_of(pod), refusals);
    if (!wanted) {
        const auto home = snapshot.namespaces->find({"", pod.meta.namespace_name});
        if (home != snapshot.namespaces->end()) {
            wanted = said(home->second->meta, {"Namespace", "", pod.meta.namespace_name}, refusals);
        }
    }
    switch (wanted.value_or(node.acceleration)) {
    case Acceleration::kOff:
        return false;
    case Acceleration::kAuto:
        return node.acceleration_proven;
    case Acceleration::kOn:
        break;
    }
    return true;
}

} // namespace weft::compiler
