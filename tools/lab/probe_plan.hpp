// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// From probe lines to work: from which namespace to dial, which address, and where somebody must answer.
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "tools/lab/fork_into.hpp"
#include "tools/lab/prober.hpp"
#include "tools/lab/protocol.hpp"
#include "tools/lab/responder.hpp"
#include "tools/probe/probe.hpp"

namespace weft::lab {

/// Who must answer, and on which ports.
struct Answerer {
    std::string name = {}; ///< "ns/pod"
    std::set<ListenPort> ports = {};
};

struct ProbePlan {
    std::map<Place, std::vector<Dial>> dials;      ///< by source
    std::map<Place, Answerer> answerers;
    std::map<std::size_t, std::set<std::pair<Place, ListenPort>>> behind; ///< by probe: where its answer can come from
    std::map<std::size_t, std::string> errors; ///< probes that cannot be tried, with the reason
};

/// Makes a host outside the cluster with this address, or finds it.
using MakeOutside = std::function<Result<Place>(const Ip& ip)>;

/// `status` as the supervisor reports it.
ProbePlan plan_probes(const Json& status, const std::vector<probe::Probe>& probes, const MakeOutside& make_outside);

} // namespace weft::lab
