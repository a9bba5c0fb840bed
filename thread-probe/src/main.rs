#![allow(missing_docs, clippy::all, reason="scratch")]
use thread_probe::bpf::*;
use thread_probe::sample::*;
fn main() {
    let t=std::time::Instant::now();
    let mut p = match Probe::load(LoadOptions{log:true}) { Ok(p)=>p, Err(e)=>{println!("{e}"); return;} };
    println!("load {:?}", t.elapsed());
    let mut n=0;
    p.start(&mut |_o| n+=1).map_err(|e| println!("{e}")).unwrap();
    println!("start {:?} {n} {:?}", t.elapsed(), p.programs());
    loop {
    std::thread::sleep(std::time::Duration::from_secs(2));
    let t=std::time::Instant::now();
    let (mut u, mut a)=(0,0);
    p.scan(&mut |o| match o { Observation::Unchanged{..}=>u+=1, Observation::Alive(o)=>{a+=1; if o.thread.head.tid<30 || o.thread.head.tid>1000 {println!("{} {:?} {:?} {:?} {:?} {}", o.thread.head.tid, String::from_utf8_lossy(&o.thread.comm), o.thread.stack_depth_bytes, o.thread.counters, o.process.map(|p| (p.cgroup_id, p.map_count, p.total_vm_pages, p.nr_threads, p.rlimit_nproc, String::from_utf8_lossy(&p.exe).to_string())), o.waits.map_or(0, |w| w.buckets.iter().sum::<u32>()))}} _=>{}}).unwrap();
    let mut e=0;
    p.drain(&mut |_| e+=1);
    println!("scan {u} {a} ended {e} {:?}", t.elapsed());
    println!("{:?} {:?}", p.host_counters().unwrap().lost, p.thread_cost());
    if std::env::args().count()==1 { break }
    }
}
