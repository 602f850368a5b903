// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// GC: the runtime lists what it still has; everything else of this network goes.
#include "cni-plugin/agent_client.hpp"
#include "cni-plugin/verbs.hpp"

namespace weft::cni {

CniResult<> gc(const NetConf& conf) {
    if (!conf.has_attachments) {
        // Taking it for an empty list would cut off every pod of the node.
        return fail(Code::kInvalidConfig, "cni.dev/valid-attachments: missing",
                    "the runtime must list the attachments to keep, if need be as []");
    }
    enrol::Request request;
    enrol::Gc& body = *request.mutable_gc();
    body.set_network(conf.name);
    for (const Attachment& attachment : conf.attachments) {
        enrol::Gc::Attachment& valid = *body.add_valid();
        valid.set_container_id(attachment.container_id);
        valid.set_ifname(attachment.ifname);
    }
    return call_agent(conf, std::move(request));
}

} // namespace weft::cni
