// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
#include "tools/lab/authority.hpp"

#include <sys/stat.h>

#include <filesystem>
#include <fstream>

#include <nlohmann/json.hpp>

#include "tools/lab/cgroup.hpp"

namespace weft::lab {
namespace {

constexpr int kPort = 8443;

Result<std::string> run(const std::vector<std::string>& argv) {
    WEFT_ASSIGN(const auto done, run_captured({.argv = argv}));
    if (done.exit_code != 0) {
        return failure(EIO, "{} {}: {}", argv[0], argv.back(), done.error_output);
    }
    return done.output;
}

/// Readable by root only, as weftd wants it.
Result<> write_secret(const std::string& path, const std::string& text) {
    const auto mask = ::umask(077);
    std::ofstream file(path, std::ios::trunc);
    file << text << std::flush;
    ::umask(mask);
    return file ? Result<>() : failure(EIO, "cannot write {}", path);
}

} // namespace

namespace {

/// What makes a node's agent join, as flags of weftd.
Result<std::vector<std::string>> join_flags(const std::string& ca, const std::string& folder,
                                            const std::string& run_dir, const std::string& node) {
    WEFT_ASSIGN(const auto text, run({ca, "--dir", folder, "token", "create", "--node", node, "-o", "json"}));
    const auto token = nlohmann::json::parse(text, nullptr, false);
    if (token.is_discarded() || !token.contains("token") || !token.contains("fingerprint")) {
        return failure(EPROTO, "weft-ca token create: answered {}", text);
    }
    const std::string token_file = run_dir + "/join-token";
    WEFT_TRY(write_secret(token_file, token["token"].get<std::string>()));
    return std::vector<std::string>{"--ca-token-file", token_file, "--ca-fingerprint",
                                    token["fingerprint"].get<std::string>()};
}

} // namespace

Result<Authority> Authority::start(const Names& names, const std::string& cgroup_mount,
                                   const std::vector<AuthorityNode>& nodes, bool weft_ca) {
    WEFT_ASSIGN(const auto relay, find_program("weft-relay"));
    Authority authority;
    const std::string folder = names.run_dir() + "/ca";
    const std::string cgroup = cgroup_mount + "/" + names.authority_cgroup();
    WEFT_TRY(create_cgroup(cgroup));
    std::string ca;
    if (weft_ca) {
        WEFT_ASSIGN(ca, find_program("weft-ca"));
        WEFT_TRY(run({ca, "--dir", folder, "init"}));
    }
    for (const auto& node : nodes) {
        const std::string run_dir = names.agent_run_dir(node.name);
        std::error_code error;
        std::filesystem::create_directories(run_dir, error);
        const std::string socket = run_dir + "/relay.sock";
        auto& flags = authority.flags_[node.name];
        if (weft_ca) {
            WEFT_ASSIGN(flags, join_flags(ca, folder, run_dir, node.name));
            flags.insert(flags.end(), {"--ca-address", fmt::format("{}:{}", nodes.front().address, kPort)});
        }
        flags.insert(flags.end(), {"--relay-socket", socket});
        WEFT_ASSIGN(auto child, launch({.argv = {relay, "--socket", socket},
                                        .netns = netns_path(names.node_netns(node.name)),
                                        .cgroup = cgroup,
                                        .log_file = run_dir + "/weft-relay.log",
                                        .new_session = true}));
        authority.children_.push_back(std::move(child));
    }
    if (weft_ca) {
        WEFT_ASSIGN(auto child, launch({.argv = {ca, "--dir", folder, "serve", "--listen",
                                                 fmt::format("[::]:{}", kPort), "--manifests", names.manifests()},
                                        .netns = netns_path(names.node_netns(nodes.front().name)),
                                        .cgroup = cgroup,
                                        .log_file = names.run_dir() + "/weft-ca.log",
                                        .new_session = true}));
        authority.children_.push_back(std::move(child));
    }
    return authority;
}

} // namespace weft::lab
