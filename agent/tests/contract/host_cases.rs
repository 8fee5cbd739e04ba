//! The promises of the port that are about the host: its own units, masks, and what `[Install]` changes there.

use model::{JobResult, LoadState, ServiceError, ServiceManager};

use crate::bed::{Bed, file, mark, name, server, unit};

pub(crate) async fn units_of_the_host_are_never_shadowed<B: Bed>(bed: &B) {
    let (manager, body) = (bed.manager(), server());
    bed.plant("sshd.service");
    bed.plant("getty@.service");
    bed.mask("masked.service");
    for (unit_name, at) in [
        ("sshd.service", "sshd.service"),
        ("getty@1.service", "getty@.service"),
    ] {
        match manager
            .load(&name(unit_name), &body, &mark(&body, 0, 0))
            .await
        {
            Err(ServiceError::Foreign { unit, path }) => {
                assert_eq!(unit, name(unit_name));
                assert!(path.ends_with(at), "{path}");
            }
            other => panic!("{unit_name}: {other:?}"),
        }
    }
    let masked = name("masked.service");
    let refused = manager.load(&masked, &body, &mark(&body, 0, 0)).await;
    assert_eq!(refused, Err(ServiceError::Masked { unit: masked }));
    assert_eq!(
        manager.list().await,
        Ok(Vec::new()),
        "nothing was left behind"
    );
}

pub(crate) async fn a_mask_on_a_loaded_unit_refuses_its_start<B: Bed>(bed: &B) {
    let (manager, web, body) = (bed.manager(), name("web.service"), server());
    manager.load(&web, &body, &mark(&body, 0, 0)).await.unwrap();
    bed.mask("web.service");
    manager.reload().await.unwrap();
    let refused = manager.start(&web, &mark(&body, 1, 0)).await;
    assert_eq!(refused, Err(ServiceError::Masked { unit: web.clone() }));
    assert_eq!(unit(manager, &web).await.load, LoadState::Masked);
}

pub(crate) async fn install_sections_are_carried_out<B: Bed>(bed: &B) {
    let (manager, web) = (bed.manager(), name("web.service"));
    let wanted =
        file("[Service]\nExecStart=/bin/sleep infinity\n[Install]\nWantedBy=nothing.target\n");
    manager
        .load(&web, &wanted, &mark(&wanted, 0, 0))
        .await
        .unwrap();
    assert_eq!(
        manager
            .start(&web, &mark(&wanted, 1, 0))
            .await
            .unwrap()
            .result,
        JobResult::Done
    );
    manager.stop(&web).await.unwrap();
    // The same again, then without: the links of the first are gone, and the unit works.
    manager
        .load(&web, &wanted, &mark(&wanted, 0, 0))
        .await
        .unwrap();
    let plain = server();
    manager
        .load(&web, &plain, &mark(&plain, 0, 0))
        .await
        .unwrap();
    if unit(manager, &web).await.needs_reload {
        manager.reload().await.unwrap();
    }
    assert_eq!(
        manager
            .start(&web, &mark(&plain, 2, 0))
            .await
            .unwrap()
            .result,
        JobResult::Done
    );
    manager.stop(&web).await.unwrap();
    manager.unload(&web).await.unwrap();
    let useless = file("[Service]\nExecStart=/bin/sleep infinity\n[Install]\nDefaultInstance=x\n");
    let refused = manager.load(&web, &useless, &mark(&useless, 0, 0)).await;
    assert!(
        matches!(refused, Err(ServiceError::Refused { .. })),
        "{refused:?}"
    );
    assert_eq!(
        manager.list().await,
        Ok(Vec::new()),
        "nothing was left behind"
    );
}

pub(crate) async fn an_alias_does_not_shadow_the_host<B: Bed>(bed: &B) {
    let (manager, web) = (bed.manager(), name("web.service"));
    bed.plant("nginx.service");
    let body = file("[Service]\nExecStart=/bin/sleep infinity\n[Install]\nAlias=nginx.service\n");
    let refused = manager.load(&web, &body, &mark(&body, 0, 0)).await;
    assert!(
        matches!(refused, Err(ServiceError::Foreign { .. })),
        "{refused:?}"
    );
    assert_eq!(manager.list().await, Ok(Vec::new()));
}
