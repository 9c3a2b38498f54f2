// RUN: vashista-opt %s -split-input-file -verify-diagnostics

//===----------------------------------------------------------------------===//
// #vashista.keys, #vashista.summary
//===----------------------------------------------------------------------===//

func.func private @keys_unknown_layout() attributes {
  // expected-error @+2 {{expected one of [hnd, nhd]}}
  // expected-error @+1 {{failed to parse Vashista_KeysAttr parameter 'layout'}}
  a = #vashista.keys<dhn>
}

// -----

func.func private @keys_no_layout() attributes {
  // expected-error @+2 {{expected keyword}}
  // expected-error @+1 {{failed to parse Vashista_KeysAttr parameter 'layout'}}
  a = #vashista.keys<>
}

// -----

func.func private @summary_unknown_kind() attributes {
  // expected-error @+2 {{expected one of [mean, mean_std, box, ball]}}
  // expected-error @+1 {{failed to parse Vashista_SummaryAttr parameter 'kind'}}
  a = #vashista.summary<median>
}

// -----

func.func private @summary_no_kind() attributes {
  // expected-error @+2 {{expected keyword}}
  // expected-error @+1 {{failed to parse Vashista_SummaryAttr parameter 'kind'}}
  a = #vashista.summary<>
}

// -----

func.func private @unknown_attribute() attributes {
  // expected-error @+1 {{unknown attribute `index` in dialect `vashista`}}
  a = #vashista.index<box>
}

// -----

//===----------------------------------------------------------------------===//
// #vashista.sketch
//===----------------------------------------------------------------------===//

func.func private @sketch_c1_zero() attributes {
  // expected-error @+1 {{[sketch_c1] expected bits to be 2, 3, 4, 5, 6 or 8, got 0}}
  a = #vashista.sketch<bits = 0, group = 32>
}

// -----

func.func private @sketch_c1_one() attributes {
  // expected-error @+1 {{[sketch_c1] expected bits to be 2, 3, 4, 5, 6 or 8, got 1}}
  a = #vashista.sketch<bits = 1, group = 32>
}

// -----

func.func private @sketch_c1_seven() attributes {
  // expected-error @+1 {{[sketch_c1] expected bits to be 2, 3, 4, 5, 6 or 8, got 7}}
  a = #vashista.sketch<bits = 7, group = 32>
}

// -----

func.func private @sketch_c1_nine() attributes {
  // expected-error @+1 {{[sketch_c1] expected bits to be 2, 3, 4, 5, 6 or 8, got 9}}
  a = #vashista.sketch<bits = 9, group = 32>
}

// -----

func.func private @sketch_c1_negative() attributes {
  // expected-error @+1 {{[sketch_c1] expected bits to be 2, 3, 4, 5, 6 or 8, got -4}}
  a = #vashista.sketch<bits = -4, group = 32>
}

// -----

// 2^32 + 4
func.func private @sketch_c1_wide() attributes {
  // expected-error @+1 {{[sketch_c1] expected bits to be 2, 3, 4, 5, 6 or 8, got 4294967300}}
  a = #vashista.sketch<bits = 4294967300, group = 32>
}

// -----

func.func private @sketch_c2_zero() attributes {
  // expected-error @+1 {{[sketch_c2] expected group to be 16, 32, 64 or 128, got 0}}
  a = #vashista.sketch<bits = 4, group = 0>
}

// -----

func.func private @sketch_c2_small() attributes {
  // expected-error @+1 {{[sketch_c2] expected group to be 16, 32, 64 or 128, got 8}}
  a = #vashista.sketch<bits = 4, group = 8>
}

// -----

func.func private @sketch_c2_between() attributes {
  // expected-error @+1 {{[sketch_c2] expected group to be 16, 32, 64 or 128, got 48}}
  a = #vashista.sketch<bits = 4, group = 48>
}

// -----

func.func private @sketch_c2_large() attributes {
  // expected-error @+1 {{[sketch_c2] expected group to be 16, 32, 64 or 128, got 256}}
  a = #vashista.sketch<bits = 4, group = 256>
}

// -----

func.func private @sketch_c2_negative() attributes {
  // expected-error @+1 {{[sketch_c2] expected group to be 16, 32, 64 or 128, got -32}}
  a = #vashista.sketch<bits = 4, group = -32>
}

// -----

func.func private @sketch_no_bits() attributes {
  // expected-error @+1 {{struct is missing required parameter: bits}}
  a = #vashista.sketch<group = 32>
}

// -----

func.func private @sketch_no_group() attributes {
  // expected-error @+1 {{struct is missing required parameter: group}}
  a = #vashista.sketch<bits = 4>
}

// -----

func.func private @sketch_unknown_parameter() attributes {
  // expected-error @+1 {{duplicate or unknown struct parameter name: groups}}
  a = #vashista.sketch<bits = 4, groups = 32>
}

// -----

func.func private @sketch_unknown_centre() attributes {
  // expected-error @+2 {{expected one of [none, page]}}
  // expected-error @+1 {{failed to parse Vashista_SketchAttr parameter 'centre'}}
  a = #vashista.sketch<bits = 4, group = 32, centre = head>
}

// -----

func.func private @sketch_unknown_rotation() attributes {
  // expected-error @+2 {{expected one of [none, hadamard]}}
  // expected-error @+1 {{failed to parse Vashista_SketchAttr parameter 'rotation'}}
  a = #vashista.sketch<bits = 4, group = 32, rotation = fourier>
}

// -----

func.func private @sketch_unknown_norm() attributes {
  // expected-error @+2 {{expected one of [group, token]}}
  // expected-error @+1 {{failed to parse Vashista_SketchAttr parameter 'norm'}}
  a = #vashista.sketch<bits = 4, group = 32, norm = head>
}

// -----

//===----------------------------------------------------------------------===//
// #vashista.solver
//===----------------------------------------------------------------------===//

func.func private @solver_c1() attributes {
  // expected-error @+1 {{[solver_c1] expected the objective linear for softmax, got projection}}
  a = #vashista.solver<softmax, objective = projection>
}

// -----

func.func private @solver_c2() attributes {
  // expected-error @+1 {{[solver_c2] expected the objective projection for frank_wolfe, got linear}}
  a = #vashista.solver<frank_wolfe, epsilon = 0.0, iterations = 4>
}

// -----

func.func private @solver_c3_zero() attributes {
  // expected-error @+1 {{[solver_c3] expected epsilon to be a positive normal f32 for softmax, got 0.000000e+00}}
  a = #vashista.solver<softmax, epsilon = 0.0>
}

// -----

func.func private @solver_c3_negative() attributes {
  // expected-error @+1 {{[solver_c3] expected epsilon to be a positive normal f32 for softmax, got -1.000000e+00}}
  a = #vashista.solver<softmax, epsilon = -1.0>
}

// -----

func.func private @solver_c3_nan() attributes {
  // expected-error @+1 {{[solver_c3] expected epsilon to be a positive normal f32 for softmax, got nan}}
  a = #vashista.solver<softmax, epsilon = 0x7FF8000000000000>
}

// -----

// Normal as f64 but not as f32.
func.func private @solver_c3_subnormal() attributes {
  // expected-error @+1 {{[solver_c3] expected epsilon to be a positive normal f32 for eg, got 1.000000e-39}}
  a = #vashista.solver<eg, epsilon = 1.0e-39, iterations = 4>
}

// -----

// Finite as f64 but not as f32.
func.func private @solver_c3_infinite() attributes {
  // expected-error @+1 {{[solver_c3] expected epsilon to be a positive normal f32 for eg, got 1.000000e+39}}
  a = #vashista.solver<eg, epsilon = 1.0e+39, iterations = 4>
}

// -----

func.func private @solver_c3_frank_wolfe_default() attributes {
  // expected-error @+1 {{[solver_c3] expected epsilon to be 0.0 for frank_wolfe, got 1.000000e+00}}
  a = #vashista.solver<frank_wolfe, objective = projection, iterations = 4>
}

// -----

func.func private @solver_c3_frank_wolfe_negative_zero() attributes {
  // expected-error @+1 {{[solver_c3] expected epsilon to be 0.0 for frank_wolfe, got -0.000000e+00}}
  a = #vashista.solver<frank_wolfe, objective = projection, epsilon = -0.0,
      iterations = 4>
}

// -----

func.func private @solver_c4_softmax() attributes {
  // expected-error @+1 {{[solver_c4] expected no iterations for softmax, got 1}}
  a = #vashista.solver<softmax, iterations = 1>
}

// -----

func.func private @solver_c4_softmax_negative() attributes {
  // expected-error @+1 {{[solver_c4] expected no iterations for softmax, got -1}}
  a = #vashista.solver<softmax, iterations = -1>
}

// -----

func.func private @solver_c4_eg() attributes {
  // expected-error @+1 {{[solver_c4] expected at least 1 iteration for eg, got 0}}
  a = #vashista.solver<eg>
}

// -----

func.func private @solver_c4_eg_negative() attributes {
  // expected-error @+1 {{[solver_c4] expected at least 1 iteration for eg, got -1}}
  a = #vashista.solver<eg, iterations = -1>
}

// -----

func.func private @solver_c4_frank_wolfe() attributes {
  // expected-error @+1 {{[solver_c4] expected at least 1 iteration for frank_wolfe, got 0}}
  a = #vashista.solver<frank_wolfe, objective = projection, epsilon = 0.0>
}

// -----

func.func private @solver_c5_softmax() attributes {
  // expected-error @+1 {{[solver_c5] expected the tolerance 0.0 for softmax, got 1.000000e-01}}
  a = #vashista.solver<softmax, tolerance = 0.1>
}

// -----

func.func private @solver_c5_negative() attributes {
  // expected-error @+1 {{[solver_c5] expected a finite tolerance of at least 0, got -1.000000e-01}}
  a = #vashista.solver<eg, iterations = 4, tolerance = -0.1>
}

// -----

func.func private @solver_c5_infinite() attributes {
  // expected-error @+1 {{[solver_c5] expected a finite tolerance of at least 0, got INF}}
  a = #vashista.solver<eg, iterations = 4, tolerance = 0x7FF0000000000000>
}

// -----

func.func private @solver_c5_nan() attributes {
  // expected-error @+1 {{[solver_c5] expected a finite tolerance of at least 0, got nan}}
  a = #vashista.solver<eg, iterations = 4, tolerance = 0x7FF8000000000000>
}

// -----

func.func private @solver_c5_frank_wolfe() attributes {
  // expected-error @+1 {{[solver_c5] expected a finite tolerance of at least 0, got -1.000000e-01}}
  a = #vashista.solver<frank_wolfe, objective = projection, epsilon = 0.0,
      iterations = 4, tolerance = -0.1>
}

// -----

func.func private @solver_c6_softmax() attributes {
  // expected-error @+1 {{[solver_c6] expected the step plain for softmax, got away}}
  a = #vashista.solver<softmax, step = away>
}

// -----

func.func private @solver_c6_eg() attributes {
  // expected-error @+1 {{[solver_c6] expected the step plain for eg, got pairwise}}
  a = #vashista.solver<eg, iterations = 4, step = pairwise>
}

// -----

func.func private @solver_no_kind() attributes {
  // expected-error @+2 {{expected keyword}}
  // expected-error @+1 {{failed to parse Vashista_SolverAttr parameter 'kind'}}
  a = #vashista.solver<>
}

// -----

func.func private @solver_unknown_kind() attributes {
  // expected-error @+2 {{expected one of [softmax, eg, frank_wolfe]}}
  // expected-error @+1 {{failed to parse Vashista_SolverAttr parameter 'kind'}}
  a = #vashista.solver<newton>
}

// -----

func.func private @solver_unknown_objective() attributes {
  // expected-error @+2 {{expected one of [linear, projection]}}
  // expected-error @+1 {{failed to parse Vashista_SolverAttr parameter 'objective'}}
  a = #vashista.solver<eg, objective = dual>
}

// -----

func.func private @solver_unknown_step() attributes {
  // expected-error @+2 {{expected one of [plain, away, pairwise]}}
  // expected-error @+1 {{failed to parse Vashista_SolverAttr parameter 'step'}}
  a = #vashista.solver<softmax, step = swap>
}

// -----

func.func private @solver_unknown_parameter() attributes {
  // expected-error @+1 {{duplicate or unknown struct parameter name: temperature}}
  a = #vashista.solver<softmax, temperature = 1.0>
}

// -----

func.func private @solver_repeated_parameter() attributes {
  // expected-error @+1 {{duplicate or unknown struct parameter name: iterations}}
  a = #vashista.solver<eg, iterations = 4, iterations = 4>
}

// -----

func.func private @solver_integer_epsilon() attributes {
  // expected-error @+3 {{unexpected decimal integer literal for a floating point value}}
  // expected-note @+2 {{add a trailing dot to make the literal a float}}
  // expected-error @+1 {{failed to parse Vashista_SolverAttr parameter 'epsilon'}}
  a = #vashista.solver<softmax, epsilon = 1>
}

// -----

//===----------------------------------------------------------------------===//
// #vashista.policy
//===----------------------------------------------------------------------===//

func.func private @policy_c1_negative_pages() attributes {
  // expected-error @+1 {{[policy_c1] expected pages to be 0 to 2^31 - 1, got -1}}
  a = #vashista.policy<pages = -1>
}

// -----

func.func private @policy_c1_large_pages() attributes {
  // expected-error @+1 {{[policy_c1] expected pages to be 0 to 2^31 - 1, got 2147483648}}
  a = #vashista.policy<pages = 2147483648>
}

// -----

func.func private @policy_c1_negative_candidates() attributes {
  // expected-error @+1 {{[policy_c1] expected candidates to be 0 to 2^31 - 1, got -1}}
  a = #vashista.policy<pages = 6, candidates = -1>
}

// -----

func.func private @policy_c1_large_candidates() attributes {
  // expected-error @+1 {{[policy_c1] expected candidates to be 0 to 2^31 - 1, got 2147483648}}
  a = #vashista.policy<pages = 6, candidates = 2147483648>
}

// -----

func.func private @policy_c1_negative_sinks() attributes {
  // expected-error @+1 {{[policy_c1] expected sinks to be 0 to 2^31 - 1, got -1}}
  a = #vashista.policy<pages = 6, sinks = -1>
}

// -----

func.func private @policy_c1_large_sinks() attributes {
  // expected-error @+1 {{[policy_c1] expected sinks to be 0 to 2^31 - 1, got 2147483648}}
  a = #vashista.policy<pages = 6, sinks = 2147483648>
}

// -----

func.func private @policy_c1_negative_window() attributes {
  // expected-error @+1 {{[policy_c1] expected window to be 0 to 2^31 - 1, got -1}}
  a = #vashista.policy<pages = 6, window = -1>
}

// -----

func.func private @policy_c1_large_window() attributes {
  // expected-error @+1 {{[policy_c1] expected window to be 0 to 2^31 - 1, got 2147483648}}
  a = #vashista.policy<pages = 6, window = 2147483648>
}

// -----

func.func private @policy_c2_negative() attributes {
  // expected-error @+1 {{[policy_c2] expected a tolerance of 0 or a positive normal f32, got -1.000000e-01}}
  a = #vashista.policy<pages = 6, tolerance = -0.1>
}

// -----

func.func private @policy_c2_negative_zero() attributes {
  // expected-error @+1 {{[policy_c2] expected a tolerance of 0 or a positive normal f32, got -0.000000e+00}}
  a = #vashista.policy<pages = 6, tolerance = -0.0>
}

// -----

// Normal as f64 but not as f32.
func.func private @policy_c2_subnormal() attributes {
  // expected-error @+1 {{[policy_c2] expected a tolerance of 0 or a positive normal f32, got 1.000000e-39}}
  a = #vashista.policy<pages = 6, tolerance = 1.0e-39>
}

// -----

func.func private @policy_c2_infinite() attributes {
  // expected-error @+1 {{[policy_c2] expected a tolerance of 0 or a positive normal f32, got INF}}
  a = #vashista.policy<pages = 6, tolerance = 0x7FF0000000000000>
}

// -----

func.func private @policy_c2_nan() attributes {
  // expected-error @+1 {{[policy_c2] expected a tolerance of 0 or a positive normal f32, got nan}}
  a = #vashista.policy<pages = 6, tolerance = 0x7FF8000000000000>
}

// -----

// Finite as f64 but not as f32.
func.func private @policy_c2_large() attributes {
  // expected-error @+1 {{[policy_c2] expected a tolerance of 0 or a positive normal f32, got 1.000000e+39}}
  a = #vashista.policy<pages = 6, target = output_error, tolerance = 1.0e+39>
}

// -----

func.func private @policy_c2_one() attributes {
  // expected-error @+1 {{[policy_c2] expected a tolerance below 1 for the target tau, got 1.000000e+00}}
  a = #vashista.policy<pages = 6, tolerance = 1.0>
}

// -----

func.func private @policy_c3_zero() attributes {
  // expected-error @+1 {{[policy_c3] expected 1 to 8 rounds, got 0}}
  a = #vashista.policy<pages = 6, tolerance = 0.1, rounds = 0>
}

// -----

func.func private @policy_c3_negative() attributes {
  // expected-error @+1 {{[policy_c3] expected 1 to 8 rounds, got -1}}
  a = #vashista.policy<pages = 6, tolerance = 0.1, rounds = -1>
}

// -----

func.func private @policy_c3_nine() attributes {
  // expected-error @+1 {{[policy_c3] expected 1 to 8 rounds, got 9}}
  a = #vashista.policy<pages = 6, tolerance = 0.1, rounds = 9>
}

// -----

func.func private @policy_c3_no_tolerance() attributes {
  // expected-error @+1 {{[policy_c3] expected 1 round for a policy without a tolerance, got 2}}
  a = #vashista.policy<pages = 6, rounds = 2>
}

// -----

func.func private @policy_c3_output_error() attributes {
  // expected-error @+1 {{[policy_c3] expected 1 round for a policy with the target output_error, got 2}}
  a = #vashista.policy<pages = 6, target = output_error, tolerance = 0.1,
      rounds = 2>
}

// -----

func.func private @policy_c3_dense() attributes {
  // expected-error @+1 {{[policy_c3] expected 1 round for a policy without pages and candidates, got 2}}
  a = #vashista.policy<pages = 0, tolerance = 0.1, rounds = 2>
}

// -----

func.func private @policy_c4() attributes {
  // expected-error @+1 {{[policy_c4] expected a tolerance for the fallback dense, got none}}
  a = #vashista.policy<pages = 6, fallback = dense>
}

// -----

func.func private @policy_c5_no_tolerance() attributes {
  // expected-error @+1 {{[policy_c5] expected a tolerance with the target tau for pick = proving, got none}}
  a = #vashista.policy<pages = 6, pick = proving>
}

// -----

func.func private @policy_c5_output_error() attributes {
  // expected-error @+1 {{[policy_c5] expected a tolerance with the target tau for pick = proving, got output_error}}
  a = #vashista.policy<pages = 6, pick = proving, target = output_error,
      tolerance = 0.1>
}

// -----

func.func private @policy_c5_gap() attributes {
  // expected-error @+1 {{[policy_c5] expected a tolerance with the target tau for pick = proving, got gap}}
  a = #vashista.policy<pages = 6, pick = proving, target = gap, tolerance = 0.1>
}

// -----

func.func private @policy_c6_sinks_and_window() attributes {
  // expected-error @+1 {{[policy_c6] expected candidates to be 0 or at least 10 (sinks + window), got 9}}
  a = #vashista.policy<pages = 6, candidates = 9, sinks = 4, window = 6>
}

// -----

func.func private @policy_c6_sinks() attributes {
  // expected-error @+1 {{[policy_c6] expected candidates to be 0 or at least 10 (sinks + window), got 9}}
  a = #vashista.policy<pages = 6, candidates = 9, sinks = 10>
}

// -----

func.func private @policy_c6_window() attributes {
  // expected-error @+1 {{[policy_c6] expected candidates to be 0 or at least 10 (sinks + window), got 9}}
  a = #vashista.policy<pages = 6, candidates = 9, window = 10>
}

// -----

func.func private @policy_c6_largest() attributes {
  // expected-error @+1 {{[policy_c6] expected candidates to be 0 or at least 4294967294 (sinks + window), got 2147483647}}
  a = #vashista.policy<pages = 6, candidates = 2147483647,
      sinks = 2147483647, window = 2147483647>
}

// -----

func.func private @policy_no_pages() attributes {
  // expected-error @+1 {{struct is missing required parameter: pages}}
  a = #vashista.policy<candidates = 10>
}

// -----

func.func private @policy_unknown_parameter() attributes {
  // expected-error @+1 {{duplicate or unknown struct parameter name: budget}}
  a = #vashista.policy<pages = 6, budget = 10>
}

// -----

func.func private @policy_repeated_parameter() attributes {
  // expected-error @+1 {{duplicate or unknown struct parameter name: pages}}
  a = #vashista.policy<pages = 6, pages = 6>
}

// -----

// 2^63
func.func private @policy_integer_too_large() attributes {
  // expected-error @+2 {{integer value too large}}
  // expected-error @+1 {{failed to parse Vashista_PolicyAttr parameter 'pages'}}
  a = #vashista.policy<pages = 9223372036854775808>
}

// -----

func.func private @policy_fractional_pages() attributes {
  // expected-error @+2 {{expected integer value}}
  // expected-error @+1 {{failed to parse Vashista_PolicyAttr parameter 'pages'}}
  a = #vashista.policy<pages = 1.5>
}

// -----

func.func private @policy_unknown_pick() attributes {
  // expected-error @+2 {{expected one of [top, proving]}}
  // expected-error @+1 {{failed to parse Vashista_PolicyAttr parameter 'pick'}}
  a = #vashista.policy<pages = 6, pick = best>
}

// -----

func.func private @policy_unknown_target() attributes {
  // expected-error @+2 {{expected one of [tau, output_error, gap]}}
  // expected-error @+1 {{failed to parse Vashista_PolicyAttr parameter 'target'}}
  a = #vashista.policy<pages = 6, target = error>
}

// -----

func.func private @policy_unknown_fallback() attributes {
  // expected-error @+2 {{expected one of [none, dense]}}
  // expected-error @+1 {{failed to parse Vashista_PolicyAttr parameter 'fallback'}}
  a = #vashista.policy<pages = 6, fallback = all>
}

// -----

func.func private @policy_no_parameters() attributes {
  // expected-error @+1 {{expected '<'}}
  a = #vashista.policy
}

// -----

//===----------------------------------------------------------------------===//
// #vashista.schedule
//===----------------------------------------------------------------------===//

func.func private @schedule_c1_three() attributes {
  // expected-error @+1 {{[schedule_c1] expected warps to be 0, 1, 2, 4, 8, 16 or 32, got 3}}
  a = #vashista.schedule<warps = 3>
}

// -----

func.func private @schedule_c1_large() attributes {
  // expected-error @+1 {{[schedule_c1] expected warps to be 0, 1, 2, 4, 8, 16 or 32, got 64}}
  a = #vashista.schedule<warps = 64>
}

// -----

func.func private @schedule_c1_negative() attributes {
  // expected-error @+1 {{[schedule_c1] expected warps to be 0, 1, 2, 4, 8, 16 or 32, got -4}}
  a = #vashista.schedule<warps = -4>
}

// -----

func.func private @schedule_c2_three() attributes {
  // expected-error @+1 {{[schedule_c2] expected vector to be 0, 1, 2, 4, 8 or 16, got 3}}
  a = #vashista.schedule<vector = 3>
}

// -----

func.func private @schedule_c2_large() attributes {
  // expected-error @+1 {{[schedule_c2] expected vector to be 0, 1, 2, 4, 8 or 16, got 32}}
  a = #vashista.schedule<vector = 32>
}

// -----

func.func private @schedule_c2_negative() attributes {
  // expected-error @+1 {{[schedule_c2] expected vector to be 0, 1, 2, 4, 8 or 16, got -8}}
  a = #vashista.schedule<vector = -8>
}

// -----

func.func private @schedule_c3_nine() attributes {
  // expected-error @+1 {{[schedule_c3] expected stages to be 0 to 8, got 9}}
  a = #vashista.schedule<stages = 9>
}

// -----

func.func private @schedule_c3_negative() attributes {
  // expected-error @+1 {{[schedule_c3] expected stages to be 0 to 8, got -1}}
  a = #vashista.schedule<stages = -1>
}

// -----

func.func private @schedule_c4() attributes {
  // expected-error @+1 {{[schedule_c4] expected split to be at least 0, got -1}}
  a = #vashista.schedule<split = -1>
}

// -----

func.func private @schedule_c5_many() attributes {
  // expected-error @+1 {{[schedule_c5] expected blocks to be 0 to 32, got 33}}
  a = #vashista.schedule<blocks = 33>
}

// -----

func.func private @schedule_c5_negative() attributes {
  // expected-error @+1 {{[schedule_c5] expected blocks to be 0 to 32, got -1}}
  a = #vashista.schedule<blocks = -1>
}

// -----

func.func private @schedule_c6_three() attributes {
  // expected-error @+1 {{[schedule_c6] expected cluster to be 0, 1, 2, 4 or 8, got 3}}
  a = #vashista.schedule<cluster = 3>
}

// -----

func.func private @schedule_c6_large() attributes {
  // expected-error @+1 {{[schedule_c6] expected cluster to be 0, 1, 2, 4 or 8, got 16}}
  a = #vashista.schedule<cluster = 16>
}

// -----

func.func private @schedule_c7() attributes {
  // expected-error @+1 {{[schedule_c7] expected splits to be at least 0, got -1}}
  a = #vashista.schedule<splits = -1>
}

// -----

func.func private @schedule_unknown_parameter() attributes {
  // expected-error @+1 {{duplicate or unknown struct parameter name: threads}}
  a = #vashista.schedule<threads = 128>
}
