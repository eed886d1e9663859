use std::sync::atomic::{AtomicU32, Ordering};

use tokio::task::JoinSet;

use super::super::PageFailure;
use super::*;
use crate::failure::Class;

/// Pages of numbers; each takes 100 ms and answers when it was issued.
#[derive(Default)]
struct Numbers {
    pages: Arc<Mutex<Vec<Vec<u32>>>>,
    issued: AtomicU32,
    /// A page that holds this number is refused.
    bad: Option<u32>,
    divisible: bool,
    /// This many pages are lost before the others.
    lost: u32,
}

#[async_trait::async_trait]
impl Pages for Numbers {
    type Ask = u32;
    type Answer = (u32, u32);
    type Ticket = ();

    fn kind(&self) -> &'static str {
        "read"
    }

    async fn admit(&self) -> Result<(), Failure> {
        Ok(())
    }

    async fn call(
        &self,
        (): (),
        asks: &[u32],
    ) -> Result<Vec<Result<(u32, u32), Failure>>, PageFailure> {
        self.pages.lock().unwrap().push(asks.to_vec());
        let issued = self.issued.fetch_add(1, Ordering::SeqCst);
        tokio::time::sleep(Duration::from_millis(100)).await;
        if issued < self.lost {
            let lost = Failure::transient(Stage::Fetch, "Lost", "m");
            return Err(PageFailure::of_all(lost));
        }
        if self.bad.is_some_and(|bad| asks.contains(&bad)) {
            return Err(PageFailure {
                failure: Failure::permanent(Stage::Fetch, "Bad", "m"),
                divisible: self.divisible,
                too_large: false,
            });
        }
        Ok(asks.iter().map(|n| Ok((*n, issued))).collect())
    }
}

type Pages50 = Arc<Mutex<Vec<Vec<u32>>>>;

fn gatherer(numbers: Numbers) -> (Gatherer<Numbers>, Pages50) {
    let pages = Arc::clone(&numbers.pages);
    let timeout = Duration::from_secs(30);
    (
        Gatherer::new(
            numbers,
            Merging::default(),
            1000,
            timeout,
            &Rhythm::default(),
        ),
        pages,
    )
}

async fn ask_each(
    gatherer: &Gatherer<Numbers>,
    numbers: std::ops::Range<u32>,
) -> Vec<(u32, Result<(u32, u32), Failure>)> {
    let mut tasks = JoinSet::new();
    for n in numbers {
        let gatherer = gatherer.clone();
        tasks.spawn(async move { (n, gatherer.ask(n, Stage::Fetch).await) });
    }
    let mut all = tasks.join_all().await;
    all.sort_by_key(|(n, _)| *n);
    all
}

#[tokio::test(start_paused = true)]
async fn a_lone_request_waits_for_nobody() {
    let (gatherer, pages) = gatherer(Numbers::default());
    for n in 0..3 {
        let started = Instant::now();
        gatherer.ask(n, Stage::Fetch).await.unwrap();
        assert_eq!(started.elapsed(), Duration::from_millis(100));
    }
    assert_eq!(pages.lock().unwrap().len(), 3);
}

#[tokio::test(start_paused = true)]
async fn what_comes_together_goes_together_and_each_gets_its_own_answer() {
    let (gatherer, pages) = gatherer(Numbers::default());
    for (n, answer) in ask_each(&gatherer, 0..40).await {
        assert_eq!(answer.unwrap().0, n);
    }
    assert!(
        pages.lock().unwrap().len() <= 2,
        "{:?}",
        pages.lock().unwrap()
    );
    // From now on company is expected: not even the first goes alone.
    pages.lock().unwrap().clear();
    ask_each(&gatherer, 0..40).await;
    assert_eq!(pages.lock().unwrap().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn nobody_is_answered_by_a_page_that_was_under_way_when_he_asked() {
    let (gatherer, _) = gatherer(Numbers::default());
    let first = tokio::spawn({
        let gatherer = gatherer.clone();
        async move { gatherer.ask(7, Stage::Fetch).await }
    });
    tokio::time::sleep(Duration::from_millis(50)).await;
    let again = gatherer.ask(7, Stage::Fetch).await.unwrap();
    assert_eq!(first.await.unwrap().unwrap(), (7, 0));
    assert_eq!(again, (7, 1));
}

#[tokio::test(start_paused = true)]
async fn a_slow_page_holds_nobody_back_for_long() {
    let (gatherer, pages) = gatherer(Numbers::default());
    let mut tasks = JoinSet::new();
    for n in 0..500 {
        let gatherer = gatherer.clone();
        tasks.spawn(async move { gatherer.ask(n, Stage::Fetch).await });
    }
    let started = Instant::now();
    tasks.join_all().await;
    assert!(
        started.elapsed() <= Duration::from_millis(400),
        "{:?}",
        started.elapsed()
    );
    assert!(
        pages.lock().unwrap().len() <= 12,
        "full pages go side by side"
    );
}

#[tokio::test(start_paused = true)]
async fn one_bad_row_fails_alone() {
    let numbers = Numbers {
        bad: Some(13),
        divisible: true,
        ..Numbers::default()
    };
    let (gatherer, pages) = gatherer(numbers);
    for (n, answer) in ask_each(&gatherer, 0..50).await {
        assert_eq!(answer.is_err(), n == 13, "{n}: {answer:?}");
        if let Err(failure) = answer {
            assert_eq!(failure.class, Class::Permanent);
        }
    }
    assert!(pages.lock().unwrap().len() <= 15);
}

#[tokio::test(start_paused = true)]
async fn a_page_that_cannot_be_narrowed_down_is_the_end_of_no_row() {
    let numbers = Numbers {
        bad: Some(13),
        ..Numbers::default()
    };
    let (gatherer, _) = gatherer(numbers);
    let answers = ask_each(&gatherer, 0..50).await;
    assert!(answers.iter().filter(|(_, a)| a.is_err()).count() > 40);
}

#[tokio::test(start_paused = true)]
async fn one_lost_page_is_nobodys_failure_and_two_are_everybodys() {
    for (lost, failed) in [(1, 0), (2, 50)] {
        let numbers = Numbers {
            lost,
            ..Numbers::default()
        };
        let (gatherer, _) = gatherer(numbers);
        let answers = ask_each(&gatherer, 0..50).await;
        let failures = answers.iter().filter(|(_, answer)| answer.is_err());
        assert_eq!(failures.count(), failed, "{lost}");
    }
}

#[tokio::test(start_paused = true)]
async fn whoever_gives_up_is_not_asked_for() {
    let (gatherer, pages) = gatherer(Numbers::default());
    let first = tokio::spawn({
        let gatherer = gatherer.clone();
        async move { gatherer.ask(1, Stage::Fetch).await }
    });
    tokio::task::yield_now().await;
    let impatient = tokio::time::timeout(Duration::from_millis(10), gatherer.ask(2, Stage::Fetch));
    assert!(impatient.await.is_err());
    first.await.unwrap().unwrap();
    gatherer.ask(3, Stage::Fetch).await.unwrap();
    let asked: Vec<u32> = pages.lock().unwrap().concat();
    assert_eq!(asked, [1, 3]);
}
