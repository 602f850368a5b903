// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// What the object types can answer about themselves: selectors, names, keys.
#include "agent/k8s/objects.hpp"

#include <algorithm>

#include <fmt/format.h>

namespace weft::k8s {
namespace {

bool holds(const LabelRequirement& requirement, const Labels& labels) {
    const auto found = labels.find(requirement.key);
    const bool present = found != labels.end();
    const auto listed = [&] {
        return std::find(requirement.values.begin(), requirement.values.end(), found->second) !=
               requirement.values.end();
    };
    switch (requirement.op) {
    case LabelRequirement::Operator::kIn:
        return present && listed();
    case LabelRequirement::Operator::kNotIn:
        return !present || !listed();
    case LabelRequirement::Operator::kExists:
        return present;
    case LabelRequirement::Operator::kDoesNotExist:
        return !present;
    }
    return false;
}

// Overloads, so that a new kind in the variant does not compile before it has a name.
constexpr const char* kind_of(const Namespace&) {
    return "Namespace";
}
constexpr const char* kind_of(const Node&) {
    return "Node";
}
constexpr const char* kind_of(const ServiceAccount&) {
    return "ServiceAccount";
}
constexpr const char* kind_of(const Pod&) {
    return "Pod";
}
constexpr const char* kind_of(const Deployment&) {
    return "Deployment";
}
constexpr const char* kind_of(const Service&) {
    return "Service";
}
constexpr const char* kind_of(const EndpointSlice&) {
    return "EndpointSlice";
}
constexpr const char* kind_of(const NetworkPolicy&) {
    return "NetworkPolicy";
}
constexpr const char* kind_of(const MeshTls&) {
    return "MeshTLS";
}
constexpr const char* kind_of(const MeshConfig&) {
    return "MeshConfig";
}

} // namespace

bool LabelSelector::matches(const Labels& labels) const {
    const auto has = [&](const auto& wanted) {
        const auto found = labels.find(wanted.first);
        return found != labels.end() && found->second == wanted.second;
    };
    return std::all_of(match_labels.begin(), match_labels.end(), has) &&
           std::all_of(match_expressions.begin(), match_expressions.end(),
                       [&](const LabelRequirement& requirement) { return holds(requirement, labels); });
}

std::string Node::zone() const {
    const auto found = meta.labels.find("topology.kubernetes.io/zone");
    return found == meta.labels.end() ? std::string() : found->second;
}

std::string ObjectKey::to_string() const {
    if (namespace_name.empty()) {
        return fmt::format("{} {}", kind, name);
    }
    return fmt::format("{} {}/{}", kind, namespace_name, name);
}

ObjectKey key_of(const Object& object) {
    return std::visit(
        [](const auto& value) { return ObjectKey{kind_of(value), value.meta.namespace_name, value.meta.name}; },
        object);
}

const Meta& meta_of(const Object& object) {
    return std::visit([](const auto& value) -> const Meta& { return value.meta; }, object);
}

} // namespace weft::k8s
