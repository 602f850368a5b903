// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// Level-triggered, as controllers are: every pass looks at everything, and a pass that finds nothing to do is cheap.
#include "tools/lab/controller.hpp"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <set>

#include "agent/k8s/derive.hpp"
#include "agent/k8s/emit.hpp"
#include "tools/lab/netns.hpp"

namespace weft::lab {
namespace {

store::Name name_of(const k8s::Meta& meta) {
    return {meta.namespace_name, meta.name};
}

std::string file_name(const k8s::Object& object) {
    const auto key = k8s::key_of(object);
    return fmt::format("{}_{}_{}.yaml", key.kind, key.namespace_name, key.name);
}

} // namespace

Controller::Controller(Loop& loop, const Names& names, CniRunner cni, std::string cgroup_mount)
    : loop_(loop), names_(names), cni_(std::move(cni)), host_(std::make_shared<PodHost>(PodHost{.names = names})) {
    host_->loop = &loop_;
    host_->cgroup_mount = std::move(cgroup_mount);
    host_->attach = [this](const k8s::Pod& pod, const CniPod& request) { return attach(pod, request); };
    host_->detach = [this](const k8s::Pod& pod, const CniPod& request) { return detach(pod, request); };
    host_->process = [this](const k8s::Pod& pod) {
        auto process = container_process(pod, cluster_.services());
        if (process.argv.empty()) {
            process.argv = {"/proc/self/exe", "lab", "pause"};
        }
        return process;
    };
    host_->hosts = [this](const k8s::Pod& pod) { return hosts_file(pod, cluster_.services(), headless_); };
    host_->changed = [this] { touch(); };
    host_->gone = [this](const k8s::Meta& meta) {
        loop_.after(std::chrono::milliseconds(0), [this, name = name_of(meta)] {
            pods_.erase(name);
            asked_.erase(name);
            touch();
        });
    };
}

void Controller::touch() {
    if (!touched_) {
        touched_ = true;
        loop_.after(std::chrono::milliseconds(2), [this] {
            if (auto done = reconcile(); !done) {
                publish_fault_ = done.error().message();
            }
        });
    }
}

PodRunner* Controller::find(const store::Name& pod) const {
    const auto found = pods_.find(pod);
    return found != pods_.end() ? found->second.get() : nullptr;
}

std::vector<k8s::Pod> Controller::existing() const {
    std::vector<k8s::Pod> list;
    for (const auto& [name, runner] : pods_) {
        if (!runner->external()) {
            list.push_back(runner->published());
            if (enrolled_.contains(list.back().meta.uid)) {
                list.back().meta.annotations["weft.dev/enrolled"] = "true";
            }
        }
    }
    return list;
}

Result<> Controller::reconcile() {
    touched_ = false;
    std::map<store::Name, k8s::Pod> wanted;
    for (auto& pod : cluster_.wanted_pods()) {
        wanted.emplace(name_of(pod.meta), std::move(pod));
    }
    stop_unwanted(wanted);
    publish_fault_.clear();
    start_missing(wanted);
    publish();
    return publish_fault_.empty() ? Result<>() : failure(EIO, "{}", publish_fault_);
}

void Controller::stop_unwanted(const std::map<store::Name, k8s::Pod>& wanted) {
    // A changed Deployment is rolled: its next pod is replaced only when all its others are ready.
    std::set<std::pair<std::string, std::string>> rolling;
    for (const auto& [name, runner] : pods_) {
        const auto deployment = std::pair(name.first, name.second.substr(0, name.second.rfind('-')));
        if (!runner->ready() && wanted.contains(name)) {
            rolling.insert(deployment);
        }
    }
    for (const auto& [name, runner] : pods_) {
        const auto found = wanted.find(name);
        if (runner->stopping()) {
            continue;
        }
        if (found == wanted.end()) {
            runner->stop();
            continue;
        }
        if (found->second == asked_.at(name)) {
            continue;
        }
        const auto deployment = std::pair(name.first, name.second.substr(0, name.second.rfind('-')));
        if (!runner->ready() || rolling.insert(deployment).second) {
            runner->stop();
        }
    }
}

void Controller::start_missing(const std::map<store::Name, k8s::Pod>& wanted) {
    unplaced_.clear();
    // Pods that ask for an address come first, so that nobody else is given it.
    std::vector<const k8s::Pod*> missing;
    for (const auto& [name, pod] : wanted) {
        if (!pods_.contains(name)) {
            missing.push_back(&pod);
        }
    }
    std::ranges::stable_partition(missing, [](const k8s::Pod* pod) { return !pod->ips.empty(); });
    std::vector<PodRunner*> fresh;
    for (const auto* asked : missing) {
        auto pod = *asked;
        const auto name = name_of(pod.meta);
        if (is_external(pod)) {
            const std::scoped_lock lock(mutex_);
            std::set<Ip> taken;
            for (const auto& [netns, outside] : outside_) {
                taken.insert(outside.addresses.begin(), outside.addresses.end());
            }
            if (pod.ips.empty()) {
                pod.ips.push_back(external_address(taken));
            }
            outside_[names_.external_netns(name.first, name.second)].addresses = pod.ips;
        } else {
            if (pod.spec.node_name.empty()) {
                cluster_.place(pod, existing());
            }
            if (pod.spec.node_name.empty()) {
                unplaced_[name] = "every node is cordoned: `weft lab uncordon NODE`";
                continue;
            }
        }
        asked_[name] = *asked;
        auto runner = std::make_unique<PodRunner>(host_, std::move(pod));
        fresh.push_back(runner.get());
        pods_[name] = std::move(runner);
    }
    if (!fresh.empty()) {
        publish(); // CNI ADD wants to find the Pod objects
        for (auto* runner : fresh) {
            runner->start();
        }
    }
}

void Controller::publish() {
    std::map<std::string, std::string> files;
    const auto add = [&files](const k8s::Object& object) { files[file_name(object)] = k8s::to_yaml(object); };
    for (const auto& object : cluster_.published()) {
        add(object);
    }
    const auto pods = existing();
    for (const auto& pod : pods) {
        add(pod);
    }
    std::map<store::Name, std::vector<Ip>> headless;
    const auto nodes = cluster_.node_list();
    for (const auto& [name, service] : cluster_.services()) {
        for (const auto& slice : k8s::derive_slices(*service, pods, nodes)) {
            add(slice);
            for (const auto& endpoint : slice.endpoints) {
                if (service->headless && (endpoint.ready || service->publish_not_ready)) {
                    auto& ready = headless[name];
                    ready.insert(ready.end(), endpoint.addresses.begin(), endpoint.addresses.end());
                }
            }
        }
    }
    write(files);
    // Pods that are not up yet write theirs when they start.
    const bool renamed = headless != headless_;
    headless_ = std::move(headless);
    if (renamed) {
        refresh_names();
    }
}

void Controller::refresh_names() {
    for (const auto& [name, runner] : pods_) {
        runner->refresh_hosts();
    }
}

void Controller::write(const std::map<std::string, std::string>& files) {
    std::error_code error;
    for (const auto& [name, text] : files) {
        if (const auto known = files_.find(name); known != files_.end() && known->second == text) {
            continue;
        }
        // Renamed into place: the agents never see half a file.
        const auto scratch = names_.scratch() + "/" + name;
        const auto target = names_.manifests() + "/" + name;
        std::ofstream stream(scratch, std::ios::trunc);
        stream << text;
        stream.close();
        if (stream.good()) {
            std::filesystem::rename(scratch, target, error);
        }
        if (!stream.good() || error) {
            publish_fault_ = fmt::format("cannot write {}: {}", target, error ? error.message() : "disk full?");
            continue;
        }
        files_[name] = text;
    }
    for (auto known = files_.begin(); known != files_.end();) {
        if (!files.contains(known->first)) {
            std::filesystem::remove(names_.manifests() + "/" + known->first, error);
            known = files_.erase(known);
        } else {
            ++known;
        }
    }
}

Result<> Controller::plug_in(const std::string& netns, const std::vector<Ip>& addresses) {
    WEFT_TRY(create_external(names_, netns, next_cable_++, addresses, cluster_.wire_nodes()));
    outside_[netns] = {.addresses = addresses, .plugged_in = true};
    for (const auto& [name, stray] : strays_) {
        WEFT_TRY(route_stray_in(netns, stray, true));
    }
    return {};
}

Result<> Controller::route(const store::Name& pod, const Stray& stray, bool add) {
    if (stray.addresses.empty() || strays_.contains(pod) == add) {
        return {};
    }
    WEFT_TRY(route_stray(names_, stray, cluster_.wire_nodes(), add));
    for (const auto& [netns, outside] : outside_) {
        if (outside.plugged_in) {
            WEFT_TRY(route_stray_in(netns, stray, add));
        }
    }
    if (add) {
        strays_[pod] = stray;
    } else {
        strays_.erase(pod);
    }
    return {};
}

Result<std::vector<Ip>> Controller::attach(const k8s::Pod& pod, const CniPod& cni) {
    if (is_external(pod)) {
        const std::scoped_lock lock(mutex_);
        const auto netns = names_.external_netns(cni.namespace_name, cni.name);
        WEFT_TRY(plug_in(netns, pod.ips));
        return pod.ips;
    }
    const auto* node = cluster_.wire_node(cni.node); // nodes are fixed once the lab is up, so any thread may read them
    if (pod.spec.host_network) {
        return node->own_addresses.empty() ? node->addresses : node->own_addresses;
    }
    const auto netns = names_.pod_netns(cni.namespace_name, cni.name);
    if (auto made = create_netns(netns); !made && made.error().code() != EEXIST) { // EEXIST: a retry after a failed ADD
        return std::unexpected(made.error());
    }
    WEFT_ASSIGN(auto ips, cni_.add(*node, cni));
    const std::scoped_lock lock(mutex_);
    WEFT_TRY(route({cni.namespace_name, cni.name}, stray_addresses(ips, *node), true));
    return ips;
}

Result<> Controller::detach(const k8s::Pod& pod, const CniPod& cni) {
    if (is_external(pod)) {
        const auto netns = names_.external_netns(cni.namespace_name, cni.name);
        const std::scoped_lock lock(mutex_);
        outside_.erase(netns);
        return remove_external(names_, netns, pod.ips, cluster_.wire_nodes());
    }
    if (pod.spec.host_network) {
        return {};
    }
    const auto* node = cluster_.wire_node(cni.node);
    WEFT_TRY(cni_.del(*node, cni));
    {
        const std::scoped_lock lock(mutex_);
        WEFT_TRY(route({cni.namespace_name, cni.name}, stray_addresses(pod.ips, *node), false));
    }
    return remove_netns(names_.pod_netns(cni.namespace_name, cni.name));
}

Result<std::string> Controller::ensure_external(const Ip& ip) {
    const std::scoped_lock lock(mutex_);
    for (const auto& [name, outside] : outside_) {
        if (std::ranges::find(outside.addresses, ip) != outside.addresses.end()) {
            return netns_path(name);
        }
    }
    const auto netns = names_.external_netns("ip", std::to_string(next_cable_));
    WEFT_TRY(plug_in(netns, {ip}));
    return netns_path(netns);
}

} // namespace weft::lab
