// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// Where everything of a lab lives: one place that makes the names of its namespaces, cgroups, pins and files, so that
// a lab can also be found and removed by name when nothing is left that remembers it.
#pragma once

#include <string>
#include <string_view>

#include "weft/base/result.hpp"

namespace weft::lab {

/// The folder below which every lab keeps its files.
inline constexpr std::string_view kRunRoot = "/run/weft/lab";
/// Where network namespaces get their names, as iproute2 does it.
inline constexpr std::string_view kNetnsRoot = "/run/netns";
/// bpffs; every lab pins below its own folder there.
inline constexpr std::string_view kBpffsRoot = "/sys/fs/bpf";

/// The names of one lab. A lab's name has no '-', so that "weft-a-" never matches another lab's "weft-ab-".
class Names {
public:
    /// Error: EINVAL when `lab` is not 1 to 20 lower-case letters and digits.
    static Result<Names> make(std::string_view lab);

    [[nodiscard]] const std::string& lab() const { return lab_; }
    /// "weft-LAB-": every network namespace of the lab begins with it.
    [[nodiscard]] std::string netns_prefix() const;
    [[nodiscard]] std::string wire_netns() const;
    [[nodiscard]] std::string node_netns(std::string_view node) const;
    [[nodiscard]] std::string pod_netns(std::string_view namespace_name, std::string_view pod) const;
    [[nodiscard]] std::string external_netns(std::string_view namespace_name, std::string_view pod) const;

    /// Paths below the cgroup v2 mount, without a leading slash: "weft-LAB", "weft-LAB/NODE", ...
    [[nodiscard]] std::string cgroup() const;
    [[nodiscard]] std::string supervisor_cgroup() const;
    [[nodiscard]] std::string authority_cgroup() const;
    [[nodiscard]] std::string node_cgroup(std::string_view node) const;
    [[nodiscard]] std::string agent_cgroup(std::string_view node) const;
    [[nodiscard]] std::string host_cgroup(std::string_view node) const;
    [[nodiscard]] std::string pod_cgroup(std::string_view node, std::string_view namespace_name,
                                         std::string_view pod) const;
    [[nodiscard]] std::string external_cgroup(std::string_view namespace_name, std::string_view pod) const;

    [[nodiscard]] std::string pins() const;
    [[nodiscard]] std::string node_pins(std::string_view node) const;

    [[nodiscard]] std::string run_dir() const;
    [[nodiscard]] std::string socket() const;
    [[nodiscard]] std::string supervisor_log() const;
    [[nodiscard]] std::string manifests() const;
    [[nodiscard]] std::string scratch() const; ///< files before they are renamed into `manifests()`
    [[nodiscard]] std::string ipam() const;    ///< host-local's leases
    [[nodiscard]] std::string agent_run_dir(std::string_view node) const;
    [[nodiscard]] std::string agent_log(std::string_view node) const;
    [[nodiscard]] std::string pod_dir(std::string_view namespace_name, std::string_view pod) const;
    [[nodiscard]] std::string pod_log(std::string_view namespace_name, std::string_view pod) const;

private:
    explicit Names(std::string lab) : lab_(std::move(lab)) {}
    std::string lab_;
};

/// "NAMESPACE.POD", shortened with a hash when it would not fit in a file name. A namespace's name has no dot, so this
/// is unambiguous.
std::string pod_label(std::string_view namespace_name, std::string_view pod);

/// Path of a network namespace by name.
std::string netns_path(std::string_view name);

/// A program that belongs to Weft: the one beside the running executable, else the one in PATH.
/// Error: ENOENT naming both places.
Result<std::string> find_program(std::string_view name);

} // namespace weft::lab
