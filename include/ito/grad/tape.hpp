// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <type_traits>
#include <unordered_map>
#include <utility>
#include <vector>

#include "ito/grad/parameter.hpp"
#include "ito/simd/math.hpp"

namespace ito {

template <class T>
class Tape;

/// A value in a computation: a shared, immutable tensor and, where a tape is kept, its place on it.
/// Without a tape the same code is plain inference, and a value goes as soon as nobody holds it.
template <class T>
class Var {
  public:
    Var() = default;

    /// A constant that no tape knows.
    Var(Tensor<T> value)
        : value_(std::allocate_shared<Tensor<T>>(detail::PoolAllocator<Tensor<T>>(), std::move(value))) {}

    const Tensor<T>& operator*() const { return *value_; }
    const Tensor<T>* operator->() const { return value_.get(); }
    const Shape& shape() const { return value_->shape(); }
    explicit operator bool() const { return value_ != nullptr; }

    /// The tape that operations on this value are recorded on, or null.
    Tape<T>* tape() const { return tape_; }

    /// Whether a gradient flows to this value.
    bool tracked() const { return node_ >= 0; }

    /// The numbers, to be overwritten by an operation that this value was moved into; null if anyone else may read them: another
    /// value, a tape or the owner of a borrowed tensor.
    Tensor<T>* spare() { return value_.use_count() == 1 && !tape_ ? const_cast<Tensor<T>*>(value_.get()) : nullptr; }

  private:
    friend class Tape<T>;
    std::shared_ptr<const Tensor<T>> value_;
    Tape<T>* tape_ = nullptr;
    std::int32_t node_ = -1;
};

/// What a tape keeps gradients of.
enum class Track { parameters, inputs };

/// The linear record of a computation. Operations append a node with the pullback that turns the gradient of their
/// result into gradients of their arguments; backward walks the nodes in reverse, once.
template <class T>
class Tape {
  public:
    using Pullback = std::function<void(Tensor<T>& gradient)>;

    /// Track::inputs leaves parameters out: the gradient with respect to inputs alone is cheaper (guidance, attribution).
    explicit Tape(Track track = Track::parameters) : track_(track) {}
    Tape(const Tape&) = delete;
    Tape& operator=(const Tape&) = delete;

    /// A value that later operations are recorded from, itself without gradient.
    Var<T> constant(Var<T> value) {
        value.tape_ = this;
        value.node_ = -1;
        return value;
    }

    /// A value whose gradient is wanted after backward.
    Var<T> input(Tensor<T> value) {
        Var<T> result = constant(std::move(value));
        result.node_ = append(result.shape(), nullptr, true);
        return result;
    }

    /// A parameter as a value; the same place on the tape each time. The parameter must outlive backward unchanged.
    Var<T> use(const Parameter<T>& parameter) {
        Var<T> result = borrow(parameter);
        result.tape_ = this;
        if (track_ == Track::inputs) return result;
        const auto [place, fresh] = parameters_.try_emplace(&parameter, 0);
        if (fresh) place->second = append(parameter.value.shape(), nullptr, true);
        result.node_ = place->second;
        return result;
    }

    /// The result of an operation together with its pullback, which gets the gradient of the result.
    Var<T> record(Var<T> value, Pullback pullback) {
        value.tape_ = this;
        value.node_ = append(value.shape(), std::move(pullback), false);
        return value;
    }

    /// Adds to the gradient of a value; does nothing where no gradient flows. Throws ShapeError for another shape,
    /// ArgumentError for a value of another tape.
    void add(const Var<T>& to, Tensor<T> gradient) {
        if (to.node_ < 0) return;
        if (to.tape_ != this) throw ArgumentError("an operation on values of two tapes");
        Node& node = nodes_[static_cast<std::size_t>(to.node_)];
        require_shape("gradient", node.shape, gradient.shape());
        if (!node.gradient) node.gradient = std::move(gradient);
        else simd::map_all(*node.gradient, [](auto a, auto b) { return simd::add(a, b); }, std::as_const(*node.gradient).data(), std::as_const(gradient).data());
    }

    /// Gradients of sum(result * seed) with respect to everything tracked. seed has the shape of result; empty means one.
    /// What a pullback held is released as soon as it ran, so that a tape goes backward once. Throws ArgumentError if result
    /// is not on this tape, or the tape has gone backward.
    void backward(const Var<T>& result, Tensor<T> seed = {}) {
        if (result.tape_ != this || result.node_ < 0)
            throw ArgumentError("backward from a value that is not recorded on this tape");
        if (std::exchange(spent_, true)) throw ArgumentError("a tape goes backward once: record again for another gradient");
        add(result, seed.empty() ? Tensor<T>::full(result.shape(), T(1)) : std::move(seed));
        for (std::int32_t i = result.node_; i >= 0; --i) {
            Node& node = nodes_[static_cast<std::size_t>(i)];
            if (node.pullback) {
                if (node.gradient) node.pullback(*node.gradient);
                node.pullback = nullptr;
            }
            if (!node.kept) node.gradient.reset();
        }
    }

    /// Gradient of an input; null if nothing reached it.
    const Tensor<T>* gradient(const Var<T>& of) const { return of.node_ < 0 ? nullptr : gradient_at(of.node_); }

    /// Gradient of a parameter; null if nothing reached it.
    const Tensor<T>* gradient(const Parameter<T>& of) const {
        const auto place = parameters_.find(&of);
        return place == parameters_.end() ? nullptr : gradient_at(place->second);
    }

    /// A parameter's tensor as a value without a tape and without a copy.
    static Var<T> borrow(const Parameter<T>& parameter) {
        Var<T> result;
        result.value_ = std::shared_ptr<const Tensor<T>>(std::shared_ptr<void>(), &parameter.value);
        return result;
    }

    /// Turns dropout on for what is recorded from here, drawing from this seed.
    void enable_dropout(std::uint64_t seed) { dropout_seed_ = seed; }

    /// A fresh key for one dropout operation; none while dropout is off.
    std::optional<std::pair<std::uint64_t, std::uint64_t>> next_dropout_key() {
        if (!dropout_seed_) return std::nullopt;
        return std::pair{*dropout_seed_, dropout_count_++};
    }

  private:
    struct Node {
        Shape shape;
        Pullback pullback;
        std::optional<Tensor<T>> gradient;
        bool kept = false;
    };

    std::int32_t append(const Shape& shape, Pullback pullback, bool kept) {
        nodes_.push_back({shape, std::move(pullback), std::nullopt, kept});
        return static_cast<std::int32_t>(nodes_.size()) - 1;
    }

    const Tensor<T>* gradient_at(std::int32_t i) const {
        const auto& gradient = nodes_[static_cast<std::size_t>(i)].gradient;
        return gradient ? &*gradient : nullptr;
    }

    Track track_;
    std::vector<Node> nodes_;
    bool spent_ = false;
    std::unordered_map<const Parameter<T>*, std::int32_t> parameters_;
    std::optional<std::uint64_t> dropout_seed_;
    std::uint64_t dropout_count_ = 0;
};

/// The tape that an operation on these values is recorded on: the first one that any of them has, or null.
template <class T, class... Rest>
Tape<T>* common_tape(const Var<T>& first, const Rest&... rest) {
    Tape<T>* tape = first ? first.tape() : nullptr;
    if constexpr (sizeof...(rest) > 0) {
        if (!tape) return common_tape(rest...);
    }
    return tape;
}

/// A parameter as a value on a tape, or plainly where there is none.
template <class T>
Var<T> use(Tape<T>* tape, const Parameter<T>& parameter) {
    return tape ? tape->use(parameter) : Tape<T>::borrow(parameter);
}

/// Wraps up an operation: records the pullback where a gradient flows to any argument, else drops it.
template <class T, class Pullback, class... Args>
Var<T> result_of(std::type_identity_t<Var<T>> value, Tape<T>* tape, Pullback&& pullback, const Args&... args) {
    if (!tape) return value;
    if (!(args.tracked() || ...)) return tape->constant(std::move(value));
    return tape->record(std::move(value), std::forward<Pullback>(pullback));
}

}  // namespace ito
