// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// What a container sees of the cluster: its environment, its command line after $(NAME) expansion, and /etc/hosts with
// the Services' names in place of a DNS server. Pure.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "agent/store/snapshot.hpp"

namespace weft::lab {

/// What of a container is to be executed.
struct ContainerProcess {
    std::vector<std::string> argv; ///< empty: the image would have said what to run, and the lab has no images
    std::vector<std::string> env;  ///< "NAME=value"
};

/// `pod` with node, addresses and name as they are now; `services` of the whole cluster.
ContainerProcess container_process(const k8s::Pod& pod, const store::Table<k8s::Service>& services);

/// Replaces $(NAME) by its value and $$ by $; an unknown name stays as written (Kubernetes does the same).
std::string expand(const std::string& text, const std::vector<std::pair<std::string, std::string>>& variables);

/// /etc/hosts for this pod: itself and every Service as NAME (in its namespace), NAME.NS, NAME.NS.svc and
/// NAME.NS.svc.cluster.local. A headless Service stands for its ready pods' addresses, given in `headless`.
std::string hosts_file(const k8s::Pod& pod, const store::Table<k8s::Service>& services,
                       const std::map<store::Name, std::vector<Ip>>& headless);

} // namespace weft::lab
