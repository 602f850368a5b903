// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// The store's working tables: one for each kind, written apart and published when their content differs from what
// was published last; both share what is the same. Internal to the store.
#pragma once

#include <memory>
#include <tuple>
#include <type_traits>
#include <utility>
#include <variant>

#include "agent/k8s/objects.hpp"
#include "agent/store/snapshot.hpp"

namespace weft::store {

/// One shared object of any kind.
using Entry = std::variant<std::shared_ptr<const k8s::Namespace>, std::shared_ptr<const k8s::Node>,
                           std::shared_ptr<const k8s::ServiceAccount>, std::shared_ptr<const k8s::Pod>,
                           std::shared_ptr<const k8s::Deployment>, std::shared_ptr<const k8s::Service>,
                           std::shared_ptr<const k8s::EndpointSlice>, std::shared_ptr<const k8s::NetworkPolicy>,
                           std::shared_ptr<const k8s::MeshTls>, std::shared_ptr<const k8s::MeshConfig>>;

inline Entry make_entry(k8s::Object object) {
    return std::visit(
        []<typename T>(T&& value) -> Entry {
            return std::make_shared<const std::remove_cvref_t<T>>(std::forward<T>(value));
        },
        std::move(object));
}

inline const k8s::Meta& meta_of(const Entry& entry) {
    return std::visit([](const auto& pointer) -> const k8s::Meta& { return pointer->meta; }, entry);
}

/// Equal kind and content, origin aside.
inline bool same_content(const Entry& a, const Entry& b) {
    return a.index() == b.index() && std::visit(
                                         [&](const auto& pointer) {
                                             using Pointer = std::remove_cvref_t<decltype(pointer)>;
                                             const auto& other = std::get<Pointer>(b);
                                             return pointer == other || *pointer == *other;
                                         },
                                         a);
}

template <typename T>
struct WorkingTable {
    Table<T> rows;
    std::shared_ptr<const Table<T>> published = std::make_shared<Table<T>>();
    bool touched = false;

    /// An equal object keeps the address that readers know already.
    void set(const Name& name, std::shared_ptr<const T> object) {
        if (const auto row = rows.find(name); row != rows.end() && *row->second == *object) {
            return;
        }
        if (const auto known = published->find(name); known != published->end() && *known->second == *object) {
            object = known->second;
        }
        rows.insert_or_assign(name, std::move(object));
        touched = true;
    }

    void erase(const Name& name) { touched |= rows.erase(name) != 0; }

    /// True when `published` is a new table.
    bool publish() {
        if (!std::exchange(touched, false) || rows == *published) {
            return false;
        }
        published = std::make_shared<Table<T>>(rows);
        return true;
    }
};

using WorkingTables =
    std::tuple<WorkingTable<k8s::Namespace>, WorkingTable<k8s::Node>, WorkingTable<k8s::ServiceAccount>,
               WorkingTable<k8s::Pod>, WorkingTable<k8s::Deployment>, WorkingTable<k8s::Service>,
               WorkingTable<k8s::EndpointSlice>, WorkingTable<k8s::NetworkPolicy>, WorkingTable<k8s::MeshTls>,
               WorkingTable<k8s::MeshConfig>>;

} // namespace weft::store
