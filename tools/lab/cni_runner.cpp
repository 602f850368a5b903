// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// The part of a container runtime that calls CNI plugins, as the specification's section 4 describes it.
#include "tools/lab/cni_runner.hpp"

#include <arpa/inet.h>
#include <unistd.h>

#include <algorithm>
#include <array>

#include "tools/lab/netns.hpp"
#include "tools/lab/process.hpp"

namespace weft::lab {
namespace {

using Json = nlohmann::ordered_json;

/// The address of `block` with this number in its last 16 bits.
Ip numbered(const Cidr& block, std::uint16_t number) {
    auto addr = block.base().raw();
    addr.word[3] |= htonl(number);
    return Ip(addr);
}

/// host-local hands out a range; for one wanted address that is a range of one. It refuses blocks with less than two
/// bits of host part, so an address outside the node's blocks gets a block around it.
Json range_for(const Ip& ip, const std::vector<Cidr>& blocks) {
    const auto own = std::ranges::find_if(blocks, [&](const Cidr& block) { return block.contains(ip); });
    const auto around =
        Cidr::parse(fmt::format("{}/{}", ip.to_string(), ip.is_v4() ? 24 : 64)).value_or(Cidr::host(ip));
    const auto& subnet = own != blocks.end() ? *own : around;
    // ptp needs the gateway inside the block. In a node's own block all pods share .1; elsewhere it is near the end,
    // where a hand-written manifest is least likely to have another pod.
    const auto gateway =
        own != blocks.end() ? numbered(subnet, 1) : numbered(subnet, numbered(subnet, 254) == ip ? 253 : 254);
    return Json::array({Json{{"subnet", subnet.to_string()},
                             {"rangeStart", ip.to_string()},
                             {"rangeEnd", ip.to_string()},
                             {"gateway", gateway.to_string()}}});
}

} // namespace

Result<CniRunner> CniRunner::make(Names names, bool mesh) {
    std::string folder;
    for (const char* candidate : {"/opt/cni/bin", "/usr/lib/cni"}) {
        const bool complete = ::access(fmt::format("{}/ptp", candidate).c_str(), X_OK) == 0 &&
                              ::access(fmt::format("{}/host-local", candidate).c_str(), X_OK) == 0;
        if (complete && folder.empty()) {
            folder = candidate;
        }
    }
    if (folder.empty()) {
        return failure(ENOENT, "the CNI plugins ptp and host-local are neither in /opt/cni/bin nor in /usr/lib/cni: "
                               "apt-get install containernetworking-plugins");
    }
    std::string weft_cni;
    if (mesh) {
        WEFT_ASSIGN(weft_cni, find_program("weft-cni"));
    }
    return CniRunner(std::move(names), mesh, std::move(folder), std::move(weft_cni));
}

Json CniRunner::conflist(const WireNode& node, const CniPod& pod) const {
    Json ranges = Json::array();
    Json routes = Json::array();
    bool v4 = false;
    bool v6 = false;
    for (const auto& ip : pod.wanted) {
        ranges.push_back(range_for(ip, node.pod_cidrs));
        (ip.is_v4() ? v4 : v6) = true;
    }
    for (const auto& block : node.pod_cidrs) {
        if (pod.wanted.empty()) {
            ranges.push_back(Json::array({Json{{"subnet", block.to_string()}}}));
            (block.is_v4() ? v4 : v6) = true;
        }
    }
    if (v4) {
        routes.push_back(Json{{"dst", "0.0.0.0/0"}});
    }
    if (v6) {
        routes.push_back(Json{{"dst", "::/0"}});
    }
    Json ipam{{"type", "host-local"},
              {"dataDir", fmt::format("{}/{}", names_.ipam(), node.name)},
              {"ranges", ranges},
              {"routes", routes}};
    Json plugins = Json::array({Json{{"type", "ptp"}, {"ipMasq", false}, {"mtu", 1500}, {"ipam", std::move(ipam)}}});
    if (mesh_) {
        plugins.push_back(Json{{"type", "weft-cni"}, {"agentSocket", names_.agent_run_dir(node.name) + "/enrol.sock"}});
    }
    return Json{
        {"cniVersion", "1.0.0"}, {"name", fmt::format("weft-{}", names_.lab())}, {"plugins", std::move(plugins)}};
}

Result<Json> CniRunner::call(const char* verb, const WireNode& node, const CniPod& pod, const Json& config) const {
    const auto type = config.value("type", "");
    const auto program = type == "weft-cni" ? weft_cni_ : fmt::format("{}/{}", plugins_, type);
    Launch what{.argv = {program}, .input = config.dump(), .netns = netns_path(names_.node_netns(node.name))};
    what.env = {fmt::format("CNI_COMMAND={}", verb),
                fmt::format("CNI_CONTAINERID={}", pod.container_id),
                fmt::format("CNI_NETNS={}", pod.netns),
                "CNI_IFNAME=eth0",
                fmt::format("CNI_PATH={}", plugins_),
                fmt::format("CNI_ARGS=IgnoreUnknown=1;K8S_POD_NAMESPACE={};K8S_POD_NAME={};K8S_POD_INFRA_CONTAINER_ID={"
                            "};K8S_POD_UID={}",
                            pod.namespace_name, pod.name, pod.container_id, pod.uid),
                "PATH=/usr/sbin:/usr/bin:/sbin:/bin"};
    WEFT_ASSIGN(const auto done, run_captured(what));
    auto answer = Json::parse(done.output, nullptr, /*allow_exceptions=*/false);
    if (done.exit_code != 0) {
        const bool readable = answer.is_object();
        const int code =
            readable && answer.contains("code") && answer["code"].is_number_integer() ? answer["code"].get<int>() : 0;
        return failure(code == 11 ? EAGAIN : EIO, "CNI {} by {}: {}", verb, type,
                       readable ? answer.value("msg", "") + " " + answer.value("details", "")
                                : done.output + done.error_output);
    }
    if (answer.is_discarded()) {
        answer = Json::object(); // DEL prints nothing
    }
    return answer;
}

Result<std::vector<Ip>> CniRunner::add(const WireNode& node, const CniPod& pod) const {
    const auto list = conflist(node, pod);
    Json previous;
    for (auto config : list["plugins"]) {
        config["cniVersion"] = list["cniVersion"];
        config["name"] = list["name"];
        if (!previous.is_null()) {
            config["prevResult"] = previous;
        }
        auto answer = call("ADD", node, pod, config);
        if (!answer) {
            (void)del(node, pod); // best effort; the failed ADD is what matters, and DEL comes again with the pod's end
            return std::unexpected(answer.error());
        }
        previous = std::move(*answer);
    }
    std::vector<Ip> ips;
    for (const auto& entry : previous.value("ips", Json::array())) {
        const auto address = entry.value("address", "");
        WEFT_ASSIGN(auto ip, Ip::parse(address.substr(0, address.find('/'))));
        ips.push_back(ip);
    }
    return ips;
}

Result<> CniRunner::del(const WireNode& node, const CniPod& pod) const {
    const auto list = conflist(node, pod);
    Result<> result;
    for (auto config = list["plugins"].rbegin(); config != list["plugins"].rend(); ++config) {
        auto full = *config;
        full["cniVersion"] = list["cniVersion"];
        full["name"] = list["name"];
        if (auto answer = call("DEL", node, pod, full); !answer && result) {
            result = std::unexpected(answer.error());
        }
    }
    return result;
}

} // namespace weft::lab
