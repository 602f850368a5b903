// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// `weft service|endpoint|policy|identity|certificate list`: what the agent holds, in kubectl's columns.
#include <algorithm>

#include <fmt/format.h>
#include <google/protobuf/util/time_util.h>

#include "tools/weft/client.hpp"
#include "tools/weft/page.hpp"
#include "weft/base/content_hash.hpp"

namespace weft::cli {
namespace {

// Cells that may hold many names show this many in the narrow table.
constexpr std::size_t kFew = 3;

struct ListOptions {
    Watch watch;
    std::string namespace_name;
};

// "weft NOUN list" with the options that all lists share; `page` is asked for each page.
void add_list(CLI::App& weft, Globals& globals, const char* noun, const char* alias, const char* text, bool namespaced,
              const std::function<std::string(Client&, const ListOptions&)>& page) {
    auto* command = weft.add_subcommand(noun, text)->alias(alias)->require_subcommand(1)->group("Inspect");
    auto* list = command->add_subcommand("list", text)->alias("ls")->alias("get");
    auto options = std::make_shared<ListOptions>();
    add_output_options(*list, globals);
    add_watch_option(*list, options->watch);
    if (namespaced) {
        list->add_option("-n,--namespace", options->namespace_name, "Only this namespace")->option_text("NAMESPACE");
    }
    list->callback([&globals, options, page] {
        auto client = value_or_fail(Client::connect(globals.socket));
        run_watched(options->watch, globals, [&] { return page(client, *options); });
    });
}

std::string pods_or_addresses(const admin::Service& service, std::size_t most) {
    std::vector<std::string> out;
    for (const auto& backend : service.backends()) {
        const auto name = backend.pod().empty() ? backend.address() : backend.pod();
        out.push_back(backend.used() ? name : fmt::format("{}({})", name, backend.condition()));
    }
    return join_cells(out, most);
}

std::string service_table(const admin::ListServicesResponse& answer, const Globals& globals) {
    Table table({"NAMESPACE", "NAME", "PORT", "PROTOCOL", "FRONTENDS", "BACKENDS", "ALGORITHM"},
                {"SCOPE", "AFFINITY", "PODS", "ID"}, globals.format == Format::kWide);
    const auto most = globals.format == Format::kWide ? 64 : kFew;
    for (const auto& service : answer.services()) {
        const auto used = std::ranges::count_if(service.backends(), &admin::Backend::used);
        table.add({service.namespace_(), service.name(), service.port_name(), service.protocol(),
                   join_cells(cells(service.frontends()), most), fmt::format("{}/{}", used, service.backends_size()),
                   service.algorithm(), service.scope(),
                   service.affinity_seconds() == 0 ? "" : fmt::format("{}s", service.affinity_seconds()),
                   pods_or_addresses(service, most), id_text(service.id())});
    }
    return table_or_nothing(table, globals, "services");
}

std::string isolation(const admin::Endpoint& endpoint) {
    if (endpoint.ingress_isolated() && endpoint.egress_isolated()) {
        return "both";
    }
    return endpoint.ingress_isolated() ? "ingress" : endpoint.egress_isolated() ? "egress" : "";
}

std::string endpoint_table(const admin::ListEndpointsResponse& answer, const Globals& globals) {
    Table table({"NAMESPACE", "POD", "IPS", "STATE", "ISOLATED", "POLICIES", "IDENTITY"},
                {"NETNS", "SERVICE-ACCOUNT", "LABELS", "REASON"}, globals.format == Format::kWide);
    const auto most = globals.format == Format::kWide ? 64 : kFew;
    for (const auto& endpoint : answer.endpoints()) {
        table.add({endpoint.namespace_(), endpoint.state() == "host" ? "(host)" : endpoint.pod(),
                   join_cells(cells(endpoint.ips()), most), endpoint.state(), isolation(endpoint),
                   join_cells(cells(endpoint.policies()), most),
                   endpoint.identity() == 0 ? "" : id_text(endpoint.identity()),
                   std::to_string(endpoint.netns_cookie()), endpoint.service_account(),
                   join_cells(cells(endpoint.labels()), most), endpoint.reason()});
    }
    return table_or_nothing(table, globals, "endpoints");
}

std::string policy_table(const admin::ListPoliciesResponse& answer, const Globals& globals) {
    Table table({"NAMESPACE", "NAME", "TYPES", "RULES", "ENDPOINTS", "STATE"}, {"SELECTED", "ORIGIN"},
                globals.format == Format::kWide);
    for (const auto& policy : answer.policies()) {
        table.add({policy.namespace_(), policy.name(), join_cells(cells(policy.types()), 2),
                   std::to_string(policy.rules_size()), std::to_string(policy.endpoints_size()), policy.state(),
                   join_cells(cells(policy.endpoints()), 64), policy.origin()});
    }
    return table_or_nothing(table, globals, "policies");
}

std::string certificate_table(const admin::ListIdentitiesResponse& answer, const Globals& globals) {
    Table table({"SPIFFE-ID", "STATE", "SERIAL", "EXPIRES", "LEFT", "SOURCE"}, {"NOT-BEFORE", "ERROR"},
                globals.format == Format::kWide);
    const auto time = [](bool known, const google::protobuf::Timestamp& at) {
        return known ? google::protobuf::util::TimeUtil::ToString(at) : "";
    };
    for (const auto& one : answer.certificates()) {
        table.add({one.id(), one.phase(), one.serial(), time(one.has_expires(), one.expires()),
                   !one.has_expires()       ? ""
                   : one.seconds_left() > 0 ? age_text(one.seconds_left())
                                            : "0s",
                   one.source(), time(one.has_not_before(), one.not_before()), one.error()});
    }
    return table_or_nothing(table, globals, "certificates");
}

std::string identity_table(const admin::ListIdentitiesResponse& answer, const Globals& globals) {
    Table table({"IDENTITY", "NAMESPACE", "LABELS", "ADDRESSES"}, {}, false);
    for (const auto& identity : answer.identities()) {
        const auto labels = !identity.reserved().empty() ? fmt::format("reserved:{}", identity.reserved())
                            : identity.cidrs().empty()   ? join_cells(cells(identity.labels()), 64)
                                                         : "cidr:" + join_cells(cells(identity.cidrs()), 64);
        table.add({identity.reserved().empty() ? id_text(identity.id()) : std::to_string(identity.id()),
                   identity.namespace_(), labels, std::to_string(identity.addresses())});
    }
    return table_or_nothing(table, globals, "identities");
}

} // namespace

void add_service_command(CLI::App& weft, Globals& globals) {
    add_list(weft, globals, "service", "svc",
             "Services, the addresses that applications dial, and the backends behind them", true,
             [&globals](Client& client, const ListOptions& options) {
                 admin::ListServicesRequest request;
                 request.set_namespace_(options.namespace_name);
                 const auto answer = value_or_fail(client.services(request));
                 return page_of(globals, answer, [&] { return service_table(answer, globals); });
             });
}

void add_endpoint_command(CLI::App& weft, Globals& globals) {
    add_list(weft, globals, "endpoint", "ep",
             "Workloads of this node: governed, isolated by which policies, or why not", true,
             [&globals](Client& client, const ListOptions& options) {
                 admin::ListEndpointsRequest request;
                 request.set_namespace_(options.namespace_name);
                 const auto answer = value_or_fail(client.endpoints(request));
                 return page_of(globals, answer, [&] { return endpoint_table(answer, globals); });
             });
}

void add_policy_command(CLI::App& weft, Globals& globals) {
    add_list(weft, globals, "policy", "netpol",
             "Network policies, their rules, and the workloads that they select here", true,
             [&globals](Client& client, const ListOptions& options) {
                 admin::ListPoliciesRequest request;
                 request.set_namespace_(options.namespace_name);
                 const auto answer = value_or_fail(client.policies(request));
                 return page_of(globals, answer, [&] { return policy_table(answer, globals); });
             });
}

void add_identity_command(CLI::App& weft, Globals& globals) {
    add_list(weft, globals, "identity", "id",
             "Certificates of this node's workloads, and the labels or prefixes that each number stands for", false,
             [&globals](Client& client, const ListOptions&) {
                 const auto answer = value_or_fail(client.identities());
                 return page_of(globals, answer, [&] {
                     const auto certificates =
                         answer.certificates().empty() ? "" : certificate_table(answer, globals) + "\n";
                     return certificates + identity_table(answer, globals);
                 });
             });
}

void add_certificate_command(CLI::App& weft, Globals& globals) {
    add_list(weft, globals, "certificate", "cert",
             "Certificates of this node's workloads: SPIFFE ID, serial number, expiry, source", false,
             [&globals](Client& client, const ListOptions&) {
                 auto answer = value_or_fail(client.identities());
                 answer.clear_identities();
                 return page_of(globals, answer, [&] { return certificate_table(answer, globals); });
             });
}

} // namespace weft::cli
