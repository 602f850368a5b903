// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// STATUS: could an ADD succeed now? Runtimes report a node as not ready while it could not.
#include "cni-plugin/agent_client.hpp"
#include "cni-plugin/verbs.hpp"

namespace weft::cni {

CniResult<> status(const NetConf& conf) {
    enrol::Request request;
    request.mutable_status();
    auto ready = call_agent(conf, std::move(request));
    if (!ready) {
        ready.error().code = Code::kNotAvailable; // whatever the reason, this is the code that STATUS has for it
    }
    return ready;
}

} // namespace weft::cni
