// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// Node, and the parts that several kinds share: metadata, label selectors, addresses.
#include <arpa/inet.h>

#include <algorithm>

#include <fmt/format.h>

#include "agent/k8s/kinds.hpp"

namespace weft::k8s {

Meta parse_meta(const Field& metadata) {
    Meta meta;
    if (!metadata.map()) {
        return meta;
    }
    meta.name = metadata.at("name").string();
    meta.namespace_name = metadata.at("namespace").string();
    meta.uid = metadata.at("uid").string();
    meta.labels = metadata.at("labels").labels(true);
    meta.annotations = metadata.at("annotations").labels(false);
    meta.deleting = !metadata.at("deletionTimestamp").string().empty();
    return meta;
}

LabelSelector parse_selector(const Field& selector) {
    LabelSelector parsed;
    if (!selector.map()) {
        return parsed;
    }
    selector.only({"matchLabels", "matchExpressions"});
    parsed.match_labels = selector.at("matchLabels").labels(true);
    const Field expressions = selector.at("matchExpressions");
    expressions.items([&](const Field& expression) {
        if (!expression.required_map()) {
            return;
        }
        expression.only({"key", "operator", "values"});
        LabelRequirement requirement;
        const Field key = expression.at("key");
        requirement.key = key.required_string();
        if (!requirement.key.empty()) {
            key.check(label_key_fault(requirement.key));
        }
        const Field values = expression.at("values");
        requirement.values = values.strings();
        values.items(
            [&](const Field& value) { value.check(label_value_fault(value.missing() ? "" : value.value()->text)); });
        const Field op = expression.at("operator");
        if (op.missing()) {
            op.fault("required: use In, NotIn, Exists or DoesNotExist");
            return;
        }
        const std::string name = op.one_of({"In", "NotIn", "Exists", "DoesNotExist"}, "Exists");
        const bool set = name == "In" || name == "NotIn";
        requirement.op = name == "In"       ? LabelRequirement::Operator::kIn
                         : name == "NotIn"  ? LabelRequirement::Operator::kNotIn
                         : name == "Exists" ? LabelRequirement::Operator::kExists
                                            : LabelRequirement::Operator::kDoesNotExist;
        if (set && requirement.values.empty()) {
            values.fault(fmt::format("operator {} needs at least one value", name));
        } else if (!set && !requirement.values.empty()) {
            values.fault(fmt::format("operator {} takes no values: remove them", name));
        }
        parsed.match_expressions.push_back(std::move(requirement));
    });
    return parsed;
}

void check_unicast(const Field& field, const Ip& ip) {
    const std::uint32_t first = ip.is_v4() ? ntohl(ip.v4_be()) : ntohl(ip.raw().word[0]);
    const bool link_local = ip.is_v4() ? first >> 16 == 0xa9fe : first >> 22 == 0xfe80 >> 6;
    const bool multicast = ip.is_v4() ? first >> 28 == 0xe : first >> 24 == 0xff;
    if (ip.is_unspecified() || ip.is_loopback() || link_local || multicast) {
        field.fault(
            fmt::format("{} is not allowed here: an unspecified, loopback, link-local or multicast address is no "
                        "destination for others",
                        ip.to_string()));
    }
}

Node parse_node(const Field& root, Meta meta) {
    Node node;
    node.meta = std::move(meta);
    const Field spec = root.at("spec");
    if (spec.map()) {
        node.unschedulable = spec.at("unschedulable").boolean(false);
        const Field cidrs = spec.at("podCIDRs");
        cidrs.items([&](const Field& item) {
            if (const auto cidr = item.cidr()) {
                node.pod_cidrs.push_back(*cidr);
            }
        });
        const Field single = spec.at("podCIDR");
        if (!single.missing() && !(single.value()->kind == Value::Kind::kScalar && single.value()->text.empty())) {
            const auto cidr = single.cidr();
            if (cidr && node.pod_cidrs.empty()) {
                node.pod_cidrs.push_back(*cidr);
            } else if (cidr && node.pod_cidrs.front() != *cidr) {
                single.fault("differs from spec.podCIDRs[0]: make them equal or remove one");
            }
        }
    }
    const Field status = root.at("status");
    if (status.map()) {
        const Field addresses = status.at("addresses");
        addresses.items([&](const Field& item) {
            if (!item.required_map()) {
                return;
            }
            const std::string type = item.at("type").required_string();
            const Field address = item.at("address");
            if (type == "InternalIP" || type == "ExternalIP") {
                if (const auto ip = address.ip()) {
                    node.addresses.push_back(*ip);
                }
            }
        });
    }
    return node;
}

} // namespace weft::k8s
