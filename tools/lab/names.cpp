// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// The names themselves, and where Weft's programs are found.
#include "tools/lab/names.hpp"

#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdlib>

#include "weft/base/content_hash.hpp"

namespace weft::lab {

Result<Names> Names::make(std::string_view lab) {
    const auto allowed = [](char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9'); };
    if (lab.empty() || lab.size() > 20 || !std::ranges::all_of(lab, allowed)) {
        return invalid("lab name '{}': use 1 to 20 lower-case letters and digits", lab);
    }
    return Names(std::string(lab));
}

std::string Names::netns_prefix() const {
    return fmt::format("weft-{}-", lab_);
}
std::string Names::wire_netns() const {
    return netns_prefix() + "wire";
}
std::string Names::node_netns(std::string_view node) const {
    return netns_prefix() + std::string(node);
}
std::string Names::pod_netns(std::string_view namespace_name, std::string_view pod) const {
    return fmt::format("{}pod-{}", netns_prefix(), pod_label(namespace_name, pod));
}
std::string Names::external_netns(std::string_view namespace_name, std::string_view pod) const {
    return fmt::format("{}ext-{}", netns_prefix(), pod_label(namespace_name, pod));
}

std::string Names::cgroup() const {
    return fmt::format("weft-{}", lab_);
}
std::string Names::supervisor_cgroup() const {
    return cgroup() + "/lab";
}
std::string Names::authority_cgroup() const {
    return cgroup() + "/authority";
}

std::string Names::node_cgroup(std::string_view node) const {
    return fmt::format("{}/{}", cgroup(), node);
}
std::string Names::agent_cgroup(std::string_view node) const {
    return node_cgroup(node) + "/agent";
}
std::string Names::host_cgroup(std::string_view node) const {
    return node_cgroup(node) + "/host";
}
std::string Names::pod_cgroup(std::string_view node, std::string_view namespace_name, std::string_view pod) const {
    return fmt::format("{}/kubepods/{}", node_cgroup(node), pod_label(namespace_name, pod));
}
std::string Names::external_cgroup(std::string_view namespace_name, std::string_view pod) const {
    return fmt::format("{}/external/{}", cgroup(), pod_label(namespace_name, pod));
}

std::string Names::pins() const {
    return fmt::format("{}/weft-{}", kBpffsRoot, lab_);
}
std::string Names::node_pins(std::string_view node) const {
    return fmt::format("{}/{}", pins(), node);
}

std::string Names::run_dir() const {
    return fmt::format("{}/{}", kRunRoot, lab_);
}
std::string Names::socket() const {
    return run_dir() + "/lab.sock";
}
std::string Names::supervisor_log() const {
    return run_dir() + "/lab.log";
}
std::string Names::manifests() const {
    return run_dir() + "/manifests";
}
std::string Names::scratch() const {
    return run_dir() + "/scratch";
}
std::string Names::ipam() const {
    return run_dir() + "/ipam";
}
std::string Names::agent_run_dir(std::string_view node) const {
    return fmt::format("{}/nodes/{}", run_dir(), node);
}
std::string Names::agent_log(std::string_view node) const {
    return agent_run_dir(node) + "/weftd.log";
}
std::string Names::pod_dir(std::string_view namespace_name, std::string_view pod) const {
    return fmt::format("{}/pods/{}", run_dir(), pod_label(namespace_name, pod));
}
std::string Names::pod_log(std::string_view namespace_name, std::string_view pod) const {
    return pod_dir(namespace_name, pod) + "/log";
}

std::string pod_label(std::string_view namespace_name, std::string_view pod) {
    auto label = fmt::format("{}.{}", namespace_name, pod);
    constexpr std::size_t kLongest = 180; // a file name holds 255 bytes, and prefixes are put before this
    if (label.size() > kLongest) {
        const auto hash = id_text(workload_id(namespace_name, pod));
        label = label.substr(0, kLongest - hash.size() - 1) + "." + hash;
    }
    return label;
}

std::string netns_path(std::string_view name) {
    return fmt::format("{}/{}", kNetnsRoot, name);
}

Result<std::string> find_program(std::string_view name) {
    std::array<char, 4096> self{};
    const auto length = ::readlink("/proc/self/exe", self.data(), self.size() - 1);
    std::string_view folder(self.data(), length > 0 ? static_cast<std::size_t>(length) : 0);
    folder = folder.substr(0, std::min(folder.rfind('/'), folder.size()));
    auto beside = fmt::format("{}/{}", folder, name);
    if (::access(beside.c_str(), X_OK) == 0) {
        return beside;
    }
    const char* path = std::getenv("PATH");
    std::string_view rest = path != nullptr ? path : "/usr/sbin:/usr/bin:/sbin:/bin";
    while (!rest.empty()) {
        const auto colon = std::min(rest.find(':'), rest.size());
        auto candidate = fmt::format("{}/{}", rest.substr(0, colon), name);
        if (colon > 0 && ::access(candidate.c_str(), X_OK) == 0) {
            return candidate;
        }
        rest.remove_prefix(std::min(colon + 1, rest.size()));
    }
    return failure(ENOENT, "program '{}' is neither beside this one ({}) nor in PATH: build or install it", name,
                   folder);
}

} // namespace weft::lab
