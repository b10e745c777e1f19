;; A router as no compiler makes it: each answer is bytes in memory, which may be anything.
;; `tests/raw.rs` fills in what stands in braces.
;;
;; Memory: 16 tags, 64 description, 128 answer of init, 192 the good answer, 256 its candidate,
;; 320 the bad answer, 384 its candidates, 4096 text, from 8192 on what the host hands over.
(module
  (import "kairos:plugin/types@0.1.0" "[method]request.tags" (func $tags (param i32 i32)))
  (import "kairos:plugin/types@0.1.0" "[resource-drop]request" (func $drop (param i32)))
  {imports}
  (memory (export "memory") {memory})
  (global $next (mut i32) (i32.const 8192))
  (global $depth (mut i32) (i32.const 0))

  (func (export "cabi_realloc") (param $old i32) (param $was i32) (param $align i32) (param $size i32) (result i32)
    (local $at i32)
    (local.set $at (i32.and (i32.add (global.get $next) (i32.const 7)) (i32.const -8)))
    (global.set $next (i32.add (local.get $at) (local.get $size)))
    (local.get $at))

  (func (export "kairos:plugin/lifecycle@0.1.0#describe") (result i32)
    {describe}
    (i32.const 64))

  (func (export "kairos:plugin/lifecycle@0.1.0#init") (param i32 i32) (result i32)
    {init}
    (i32.const 128))

  (func $bad (param $request i32) (result i32)
    {bad})

  (func $recurse (result i32)
    (i32.add (call $recurse) (i32.const 1)))

  ;; The requests of the trial have a tag; those of the tests have none.
  (func (export "kairos:plugin/routing@0.1.0#route") (param $arguments i32) (result i32)
    (local $request i32)
    (local.set $request (i32.load (local.get $arguments)))
    (call $tags (local.get $request) (i32.const 16))
    (global.set $next (i32.const 8192))
    (if (i32.eqz (i32.load (i32.const 20)))
      (then (return (call $bad (local.get $request)))))
    (call $drop (local.get $request))
    (i32.const 192))

  {fields}
  {data})
