// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// DEL: repeated by runtimes until it succeeds, and in the way of deleting the pod as long as it does not.
#include "cni-plugin/agent_client.hpp"
#include "cni-plugin/verbs.hpp"

namespace weft::cni {

void del(const Environment& environment, const NetConf& conf) {
    enrol::Request request;
    enrol::Del& body = *request.mutable_del();
    body.set_container_id(environment.container_id);
    body.set_ifname(environment.ifname);
    body.set_network(conf.name);
    // Any failure is the agent's to mend: its sweep, and its next start, drop endpoints whose namespace is gone.
    (void)call_agent(conf, std::move(request));
}

} // namespace weft::cni
