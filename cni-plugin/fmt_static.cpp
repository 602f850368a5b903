// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// Why is fmt compiled here? weft-cni is copied into a host's CNI folder and must run without any library of that host,
// and the fmt package has no static archive. These are the definitions that its shared library would give.
#include <fmt/format-inl.h>

FMT_BEGIN_NAMESPACE
namespace detail {
template FMT_API auto dragonbox::to_decimal(float x) noexcept -> dragonbox::decimal_fp<float>;
template FMT_API auto dragonbox::to_decimal(double x) noexcept -> dragonbox::decimal_fp<double>;
template FMT_API auto thousands_sep_impl(locale_ref loc) -> thousands_sep_result<char>;
template FMT_API auto decimal_point_impl(locale_ref loc) -> char;
} // namespace detail
FMT_END_NAMESPACE
