// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
#include "agent/compiler/compiler.hpp"

#include <algorithm>
#include <set>

#include "agent/compiler/services.hpp"
#include "agent/compiler/workloads.hpp"

namespace weft::compiler {
namespace {

using Slice = std::shared_ptr<const k8s::EndpointSlice>;
using SliceList = std::vector<Slice>;
using Fragments = std::vector<std::shared_ptr<const ServiceFragment>>;
using Claim = std::pair<store::Name, std::uint64_t>; ///< Service, service_id of the fragment

std::string zone_of(const store::Snapshot& snapshot, const std::string& node) {
    const auto found = snapshot.nodes->find({"", node});
    return found == snapshot.nodes->end() ? "" : found->second->zone();
}

} // namespace

class Compiler::Impl {
public:
    DesiredState compile(const store::Snapshot& snapshot, const NodeContext& node) {
        update_services(snapshot, node);
        update_policy(snapshot, node);
        last_ = snapshot;
        node_ = node;
        primed_ = true;

        DesiredState state;
        state.snapshot_version = snapshot.version;
        state.policy = policy_.image;
        state.names = policy_.names;
        state.refusals = policy_.refusals;
        state.refusals.insert(state.refusals.end(), weight_refusals_.begin(), weight_refusals_.end());
        for (const auto& [name, refusals] : service_refusals_) {
            state.refusals.insert(state.refusals.end(), refusals.begin(), refusals.end());
        }
        state.services = fragments_;
        settle_conflicts(snapshot, state);
        return state;
    }

private:
    void update_services(const store::Snapshot& snapshot, const NodeContext& node) {
        std::set<store::Name> dirty;
        const std::string zone = zone_of(snapshot, node.node_name);
        bool all = !primed_ || node.node_name != node_.node_name || zone != zone_;
        if (!primed_ || snapshot.pods != last_.pods) {
            all |= update_weights(snapshot);
        }
        zone_ = zone;
        using Services = store::Table<k8s::Service>;
        using Slices = store::Table<k8s::EndpointSlice>;
        Services::for_each_change(*last_.services, *snapshot.services,
                                  [&](const auto& name, const auto*, const auto*) { dirty.insert(name); });
        Slices::for_each_change(*last_.slices, *snapshot.slices,
                                [&](const auto& name, const auto* before, const auto* after) {
                                    for (const auto* slice : {before, after}) {
                                        if (slice != nullptr && !(*slice)->service.empty()) {
                                            dirty.insert({name.first, (*slice)->service});
                                        }
                                    }
                                    move_slice(name.first, before, after);
                                });
        if (all) {
            for (const auto& [name, service] : *snapshot.services) {
                dirty.insert(name);
            }
        }
        for (const auto& name : dirty) {
            recompile(snapshot, node, name);
        }
    }

    void move_slice(const std::string& namespace_name, const Slice* before, const Slice* after) {
        if (before != nullptr) {
            auto& list = slices_[{namespace_name, (*before)->service}];
            std::erase(list, *before);
            if (list.empty()) {
                slices_.erase({namespace_name, (*before)->service});
            }
        }
        if (after != nullptr && !(*after)->service.empty()) {
            auto& list = slices_[{namespace_name, (*after)->service}];
            list.insert(
                std::ranges::upper_bound(list, (*after)->meta.name, {}, [](const auto& s) { return s->meta.name; }),
                *after);
        }
    }

    void recompile(const store::Snapshot& snapshot, const NodeContext& node, const store::Name& name) {
        service_refusals_.erase(name);
        if (const auto old = services_.find(name); old != services_.end()) {
            for (const auto& fragment : old->second) {
                fragments_.erase(fragment->service_id);
                for (const auto& [frontend, value] : fragment->frontends) {
                    unclaim(frontend, {name, fragment->service_id});
                }
            }
            services_.erase(old);
        }
        const auto service = snapshot.services->find(name);
        if (service == snapshot.services->end()) {
            return;
        }
        static const SliceList kNone;
        const auto slices = slices_.find(name);
        std::vector<store::Refusal> refusals;
        Fragments compiled = compile_service(
            {*service->second, slices == slices_.end() ? kNone : slices->second, node.node_name, zone_, weights_},
            refusals);
        if (!refusals.empty()) {
            service_refusals_.emplace(name, std::move(refusals));
        }
        for (const auto& fragment : compiled) {
            fragments_.insert_or_assign(fragment->service_id, fragment);
            for (const auto& [frontend, value] : fragment->frontends) {
                auto& claims = claims_[frontend];
                claims.insert({name, fragment->service_id});
                if (claims.size() > 1) {
                    contested_.insert_or_assign(frontend, true);
                }
            }
        }
        services_.emplace(name, std::move(compiled));
    }

    void unclaim(const weft_addr_port& frontend, const Claim& claim) {
        const auto found = claims_.find(frontend);
        found->second.erase(claim);
        if (found->second.size() < 2) {
            contested_.erase(frontend);
        }
        if (found->second.empty()) {
            claims_.erase(found);
        }
    }

    /// An address and port that two Services claim belongs to the first by namespace and name.
    void settle_conflicts(const store::Snapshot& snapshot, DesiredState& state) const {
        for (const auto& [frontend, ignored] : contested_) {
            const auto& claims = claims_.at(frontend);
            const auto& winner = *claims.begin();
            for (auto claim = std::next(claims.begin()); claim != claims.end(); ++claim) {
                auto reduced = std::make_shared<ServiceFragment>(*state.services.at(claim->second));
                std::erase_if(reduced->frontends, [&](const auto& f) { return AbiEqual{}(f.first, frontend); });
                state.services.insert_or_assign(claim->second, std::move(reduced));
                const auto service = snapshot.services->find(claim->first);
                state.refusals.push_back(
                    {{"Service", claim->first.first, claim->first.second},
                     service == snapshot.services->end() ? k8s::Origin{} : service->second->meta.origin,
                     "spec.ports",
                     fmt::format("{} already belongs to Service {}/{}; give one of them another address or port",
                                 to_string(frontend), winner.first.first, winner.first.second),
                     false});
            }
        }
    }

    /// Reads the pods' weights again; true when one changed.
    bool update_weights(const store::Snapshot& snapshot) {
        PodWeights weights;
        weight_refusals_.clear();
        for (const auto& [name, pod] : *snapshot.pods) {
            const auto weight = weight_annotation(pod->meta.annotations);
            if (!weight) {
                weight_refusals_.push_back({k8s::key_of(*pod), pod->meta.origin,
                                            "metadata.annotations[weft.dev/weight]",
                                            weight.error().message() + "; weight 1 is used", false});
            } else if (*weight) {
                weights[name] = **weight;
            }
        }
        const bool changed = weights != weights_;
        weights_ = std::move(weights);
        return changed;
    }

    void update_policy(const store::Snapshot& snapshot, const NodeContext& node) {
        if (primed_ && node == node_ && snapshot.namespaces == last_.namespaces && snapshot.pods == last_.pods &&
            snapshot.nodes == last_.nodes && snapshot.policies == last_.policies &&
            snapshot.mesh_tls == last_.mesh_tls && snapshot.mesh_configs == last_.mesh_configs &&
            snapshot.endpoints == last_.endpoints) {
            return;
        }
        policy_ = compile_policy(snapshot, node);
    }

    bool primed_ = false;
    store::Snapshot last_; ///< keeps the objects alive that fragments and names came from
    NodeContext node_;
    std::string zone_;
    std::map<store::Name, SliceList> slices_; ///< by Service, sorted by slice name
    std::map<store::Name, Fragments> services_; ///< what each Service was compiled to
    std::map<store::Name, std::vector<store::Refusal>> service_refusals_;
    SortedMap<std::uint64_t, std::shared_ptr<const ServiceFragment>> fragments_; ///< of all Services, by service_id
    Image<weft_addr_port, std::set<Claim>> claims_;
    Image<weft_addr_port, bool> contested_;
    PodWeights weights_;
    std::vector<store::Refusal> weight_refusals_;
    PolicyState policy_;
};

Compiler::Compiler() : impl_(std::make_unique<Impl>()) {}
Compiler::Compiler(Compiler&&) noexcept = default;
Compiler& Compiler::operator=(Compiler&&) noexcept = default;
Compiler::~Compiler() = default;

DesiredState Compiler::compile(const store::Snapshot& snapshot, const NodeContext& node) {
    return impl_->compile(snapshot, node);
}

} // namespace weft::compiler
