// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
#include "agent/bpf/host_ends.hpp"

#include <fcntl.h>
#include <linux/if_link.h>
#include <linux/net_namespace.h>
#include <linux/rtnetlink.h>
#include <net/if.h>

#include <array>
#include <optional>
#include <string_view>

#include "agent/bpf/rtnetlink.hpp"
#include "weft/base/unique_fd.hpp"

namespace weft::bpf {
namespace {

struct Veth {
    std::uint32_t index = 0;
    std::int32_t peer_netns = 0; ///< this namespace's number for the peer's
};

struct Attributes {
    std::optional<std::int32_t> peer_netns;
    bool veth = false;
};

int link_kind(const nlattr* attribute, void* data) {
    if (mnl_attr_get_type(attribute) == IFLA_INFO_KIND &&
        mnl_attr_validate(attribute, MNL_TYPE_STRING) >= 0) { // "veth" with or without its zero byte
        static_cast<Attributes*>(data)->veth = std::string_view(mnl_attr_get_str(attribute)) == "veth";
    }
    return MNL_CB_OK;
}

int link_attribute(const nlattr* attribute, void* data) {
    auto* found = static_cast<Attributes*>(data);
    switch (mnl_attr_get_type(attribute)) {
    case IFLA_LINK_NETNSID:
        if (mnl_attr_validate(attribute, MNL_TYPE_U32) >= 0) {
            found->peer_netns = static_cast<std::int32_t>(mnl_attr_get_u32(attribute));
        }
        break;
    case IFLA_LINKINFO:
        return mnl_attr_parse_nested(attribute, link_kind, data);
    default:
        break;
    }
    return MNL_CB_OK;
}

int link_message(const nlmsghdr* header, void* data) {
    const auto* info = static_cast<const ifinfomsg*>(mnl_nlmsg_get_payload(header));
    Attributes found;
    if (mnl_attr_parse(header, sizeof *info, link_attribute, &found) >= 0 && found.veth && found.peer_netns) {
        static_cast<std::vector<Veth>*>(data)->push_back(
            {static_cast<std::uint32_t>(info->ifi_index), *found.peer_netns});
    }
    return MNL_CB_OK;
}

int netns_attribute(const nlattr* attribute, void* data) {
    if (mnl_attr_get_type(attribute) == NETNSA_NSID && mnl_attr_validate(attribute, MNL_TYPE_U32) >= 0) {
        *static_cast<std::int32_t*>(data) = static_cast<std::int32_t>(mnl_attr_get_u32(attribute));
    }
    return MNL_CB_OK;
}

int netns_message(const nlmsghdr* header, void* data) {
    return mnl_attr_parse(header, sizeof(rtgenmsg), netns_attribute, data);
}

Result<std::vector<Veth>> veths() {
    std::array<char, 256> buffer{};
    nlmsghdr* request = mnl_nlmsg_put_header(buffer.data());
    request->nlmsg_type = RTM_GETLINK;
    request->nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
    request->nlmsg_seq = 1;
    (void)mnl_nlmsg_put_extra_header(request, sizeof(ifinfomsg));
    std::vector<Veth> found;
    WEFT_TRY(ask_rtnetlink(request, link_message, &found));
    return found;
}

// This namespace's number for another one; NETNSA_NSID_NOT_ASSIGNED when no device leads there.
Result<std::int32_t> number_of(int netns) {
    std::array<char, 256> buffer{};
    nlmsghdr* request = mnl_nlmsg_put_header(buffer.data());
    request->nlmsg_type = RTM_GETNSID;
    request->nlmsg_flags = NLM_F_REQUEST;
    request->nlmsg_seq = 1;
    (void)mnl_nlmsg_put_extra_header(request, sizeof(rtgenmsg));
    mnl_attr_put_u32(request, NETNSA_FD, static_cast<std::uint32_t>(netns));
    std::int32_t number = NETNSA_NSID_NOT_ASSIGNED;
    WEFT_TRY(ask_rtnetlink(request, netns_message, &number));
    return number;
}

} // namespace

Result<std::vector<std::uint32_t>> host_ends(const std::string& netns_path) {
    const UniqueFd netns(::open(netns_path.c_str(), O_RDONLY | O_CLOEXEC));
    if (!netns.valid()) {
        return system_failure("opening network namespace {}", netns_path);
    }
    WEFT_ASSIGN(const std::vector<Veth> all, veths()); // first: listing a device gives its peer's namespace a number
    WEFT_ASSIGN(const std::int32_t number, number_of(netns.get()));
    std::vector<std::uint32_t> ends;
    for (const Veth& veth : all) {
        if (number != NETNSA_NSID_NOT_ASSIGNED && veth.peer_netns == number) {
            ends.push_back(veth.index);
        }
    }
    return ends;
}

} // namespace weft::bpf
