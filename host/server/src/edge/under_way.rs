//! A request under way: it runs where its connection is served, and goes on without it when the
//! caller leaves.

use std::future::poll_fn;
use std::panic::AssertUnwindSafe;

use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, CatchUnwind};
use kairos_pipeline::reply::Outgoing;
use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tokio_util::task::TaskTracker;
use tokio_util::task::task_tracker::TaskTrackerToken;

/// The way of a request through the pipeline, not at its end yet. When this is dropped, what is left
/// of it runs in a task of its own, to the end of the money.
struct UnderWay {
    rest: Option<CatchUnwind<AssertUnwindSafe<BoxFuture<'static, ()>>>>,
    tasks: TaskTracker,
    /// Whoever waits for the tasks waits for this one, wherever it runs.
    _counted: TaskTrackerToken,
    runtime: Handle,
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        if let Some(rest) = self.rest.take() {
            self.tasks.spawn_on(rest.map(|_| ()), &self.runtime);
        }
    }
}

/// Runs a request until there is an answer, or the head of one; none when it was lost. What comes
/// after the head runs apart, as a slow reader must not hold it up.
///
/// No task is made for most requests, and nobody is woken: a request costs some microseconds less.
pub(super) async fn answer(
    tasks: &TaskTracker,
    request: BoxFuture<'static, ()>,
    mut answer: oneshot::Receiver<Outgoing>,
) -> Option<Outgoing> {
    // A panic is this request's end, not its connection's.
    let rest = AssertUnwindSafe(request).catch_unwind();
    let mut under_way =
        UnderWay { rest: Some(rest), tasks: tasks.clone(), _counted: tasks.token(), runtime: Handle::current() };
    poll_fn(|context| {
        if let Some(rest) = &mut under_way.rest
            && rest.poll_unpin(context).is_ready()
        {
            under_way.rest = None;
        }
        answer.poll_unpin(context).map(Result::ok)
    })
    .await
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};

    use kairos_pipeline::reply::Body;
    use tokio::sync::Notify;

    use super::*;

    fn outgoing() -> Outgoing {
        Outgoing { status: 200, content_type: "text/plain", headers: Vec::new(), body: Body::Whole("yes".into()) }
    }

    #[tokio::test]
    async fn a_request_whose_caller_leaves_goes_on_to_its_end() {
        let tasks = TaskTracker::new();
        let (go, ended) = (Arc::new(Notify::new()), Arc::new(AtomicBool::new(false)));
        let (sender, receiver) = oneshot::channel();
        let request = {
            let (go, ended) = (Arc::clone(&go), Arc::clone(&ended));
            async move {
                go.notified().await;
                ended.store(sender.send(outgoing()).is_err(), Ordering::SeqCst);
            }
        };
        let mut caller = answer(&tasks, request.boxed(), receiver).boxed();
        assert!(caller.as_mut().now_or_never().is_none());
        assert_eq!(tasks.len(), 1);
        drop(caller);
        tasks.close();
        assert_eq!(tasks.len(), 1, "it runs on, and is waited for");
        go.notify_one();
        tasks.wait().await;
        assert!(ended.load(Ordering::SeqCst), "it came to its end, and saw that the caller was gone");
    }

    #[tokio::test]
    async fn what_comes_after_the_head_runs_apart_and_a_panic_is_an_answer_that_was_lost() {
        let tasks = TaskTracker::new();
        let go = Arc::new(Notify::new());
        let (sender, receiver) = oneshot::channel();
        let rest = Arc::clone(&go);
        let request = async move {
            let _ = sender.send(outgoing());
            rest.notified().await;
        };
        assert_eq!(answer(&tasks, request.boxed(), receiver).await.map(|answer| answer.status), Some(200));
        assert_eq!(tasks.len(), 1);
        go.notify_one();
        let (sender, receiver) = oneshot::channel::<Outgoing>();
        let request = async move {
            let _held = sender;
            panic!("on purpose");
        };
        assert!(answer(&tasks, request.boxed(), receiver).await.is_none());
        tasks.close();
        tasks.wait().await;
    }
}
