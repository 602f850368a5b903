// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// CHECK: is the pod still governed, with these addresses?
#include "cni-plugin/agent_client.hpp"
#include "cni-plugin/chain.hpp"
#include "cni-plugin/verbs.hpp"

namespace weft::cni {

CniResult<> check(const Environment& environment, const NetConf& conf) {
    const auto addresses = container_addresses(conf.prev_result);
    if (!addresses) {
        return std::unexpected(addresses.error());
    }
    enrol::Request request;
    enrol::Check& body = *request.mutable_check();
    body.set_container_id(environment.container_id);
    body.set_ifname(environment.ifname);
    for (const std::string& address : *addresses) {
        body.add_ips(address);
    }
    return call_agent(conf, std::move(request));
}

} // namespace weft::cni
