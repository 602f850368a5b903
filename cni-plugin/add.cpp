// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// ADD: the pod's first packet must already be governed, so the answer waits for the agent.
#include "cni-plugin/agent_client.hpp"
#include "cni-plugin/chain.hpp"
#include "cni-plugin/verbs.hpp"

namespace weft::cni {

CniResult<Json> add(const Environment& environment, const NetConf& conf) {
    const auto addresses = container_addresses(conf.prev_result);
    if (!addresses) {
        return std::unexpected(addresses.error());
    }
    enrol::Request request;
    enrol::Add& body = *request.mutable_add();
    body.set_container_id(environment.container_id);
    body.set_netns(environment.netns);
    body.set_ifname(environment.ifname);
    body.set_pod_namespace(environment.pod.namespace_name);
    body.set_pod_name(environment.pod.name);
    body.set_pod_uid(environment.pod.uid);
    body.set_network(conf.name);
    for (const std::string& address : *addresses) {
        body.add_ips(address);
    }
    if (auto done = call_agent(conf, std::move(request)); !done) {
        return std::unexpected(std::move(done).error());
    }
    Json result = conf.prev_result;
    if (!result.contains("cniVersion")) {
        result["cniVersion"] = conf.version; // a result must name its version; nothing else is ever touched
    }
    return result;
}

} // namespace weft::cni
