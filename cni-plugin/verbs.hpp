// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// The CNI verbs, each in a file of its own: from checked input to what is printed on stdout.
#pragma once

#include <string>

#include "cni-plugin/environment.hpp"
#include "cni-plugin/netconf.hpp"

namespace weft::cni {

/// Enrols the pod and passes prevResult on. Succeeds only when the agent governs the pod.
CniResult<Json> add(const Environment& environment, const NetConf& conf);
/// Forgets the pod; never fails: an agent that is not there forgets it itself once the namespace is gone.
void del(const Environment& environment, const NetConf& conf);
/// Succeeds when the agent governs the pod with the addresses of prevResult.
CniResult<> check(const Environment& environment, const NetConf& conf);
/// Forgets every pod of this network that cni.dev/valid-attachments does not list.
CniResult<> gc(const NetConf& conf);
/// Succeeds when an ADD could succeed; otherwise code 50.
CniResult<> status(const NetConf& conf);
/// The version object: answers in the version that was asked with, if any.
Json version(const Json& input);

} // namespace weft::cni
