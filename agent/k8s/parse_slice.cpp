// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// EndpointSlice, discovery.k8s.io/v1 and v1beta1.
#include <set>

#include <fmt/format.h>

#include "agent/k8s/kinds.hpp"

namespace weft::k8s {
namespace {

constexpr std::size_t kMaxAddresses = 100;

void parse_hints(const Field& hints, SliceEndpoint& endpoint) {
    if (!hints.map()) {
        return;
    }
    const auto names = [&](const Field& list, std::vector<std::string>& into) {
        list.items([&](const Field& item) {
            if (item.required_map()) {
                into.push_back(item.at("name").required_string());
            }
        });
    };
    names(hints.at("forZones"), endpoint.hint_zones);
    names(hints.at("forNodes"), endpoint.hint_nodes);
}

SliceEndpoint parse_endpoint(const Field& item, bool v4, bool beta) {
    SliceEndpoint endpoint;
    if (!item.required_map()) {
        return endpoint;
    }
    const Field addresses = item.at("addresses");
    addresses.items([&](const Field& address) {
        const auto ip = address.ip();
        if (!ip) {
            return;
        }
        if (ip->is_v4() != v4) {
            address.fault(fmt::format("{} is not of the slice's addressType", ip->to_string()));
        }
        check_unicast(address, *ip);
        endpoint.addresses.push_back(*ip);
    });
    if (addresses.count() == 0 || addresses.count() > kMaxAddresses) {
        addresses.fault(fmt::format("1 to {} addresses are required", kMaxAddresses));
    }
    const Field conditions = item.at("conditions");
    if (conditions.map()) {
        endpoint.ready = conditions.at("ready").boolean(true);
        endpoint.serving = conditions.at("serving").boolean(endpoint.ready);
        endpoint.terminating = conditions.at("terminating").boolean(false);
    }
    endpoint.node_name = item.at("nodeName").string();
    endpoint.zone = item.at("zone").string();
    const Field topology = item.at("topology");
    if (beta && topology.map()) {
        const Labels labels = topology.labels(true);
        const auto fill = [&](std::string& into, const char* key) {
            if (const auto found = labels.find(key); into.empty() && found != labels.end()) {
                into = found->second;
            }
        };
        fill(endpoint.node_name, "kubernetes.io/hostname");
        fill(endpoint.zone, "topology.kubernetes.io/zone");
    }
    parse_hints(item.at("hints"), endpoint);
    const Field target = item.at("targetRef");
    if (target.map() && target.at("kind").string() == "Pod") {
        endpoint.target_pod = target.at("name").string();
    }
    return endpoint;
}

} // namespace

EndpointSlice parse_slice(const Field& root, Meta meta, bool beta) {
    EndpointSlice slice;
    slice.meta = std::move(meta);
    if (const auto found = slice.meta.labels.find("kubernetes.io/service-name"); found != slice.meta.labels.end()) {
        slice.service = found->second;
    }
    const Field type = root.at("addressType");
    if (type.missing()) {
        type.fault("required: use IPv4 or IPv6");
    } else if (type.value()->text == "FQDN") {
        type.fault("FQDN slices are not supported: the kernel connects to addresses, so list IPv4 or IPv6 ones");
    } else {
        slice.v4 = type.one_of({"IPv4", "IPv6"}, "IPv4") == "IPv4";
    }
    const Field endpoints = root.at("endpoints");
    slice.endpoints.reserve(endpoints.count());
    endpoints.items([&](const Field& item) { slice.endpoints.push_back(parse_endpoint(item, slice.v4, beta)); });
    std::set<std::string> names;
    const Field ports = root.at("ports");
    ports.items([&](const Field& item) {
        if (!item.required_map()) {
            return;
        }
        SlicePort port;
        const Field name = item.at("name");
        port.name = name.string();
        if (!port.name.empty()) {
            name.check(dns_label_fault(port.name));
        }
        if (!names.insert(port.name).second) {
            name.fault(fmt::format("port name '{}' is used twice in this slice", port.name));
        }
        port.protocol = item.at("protocol").protocol();
        port.port = item.at("port").port().value_or(0);
        slice.ports.push_back(std::move(port));
    });
    return slice;
}

} // namespace weft::k8s
